// The HTML report. No import of "allure" here: a plain object needs none. Where the history is and which legs were to
// run, the environment says: AFFINITY_HISTORY, AFFINITY_EXPECTED.
import { rules } from "./gate.mjs";
import { environments } from "./legs.mjs";

export default {
  name: "Session affinity conformance",
  historyPath: process.env.AFFINITY_HISTORY,
  historyLimit: 50,
  environments,
  categories: [
    {
      name: "Does not conform: a claim does not hold",
      matchers: { statuses: ["failed"] },
      groupBy: [{ label: "claim" }],
      groupByMessage: true,
    },
    {
      name: "Could not tell: cluster, machine or suite",
      matchers: { statuses: ["broken", "unknown"] },
      groupByMessage: true,
    },
    {
      name: "Not judged here, by rule",
      matchers: { statuses: ["skipped"] },
      groupByMessage: true,
    },
  ],
  qualityGate: { rules },
  plugins: {
    awesome: { options: { groupBy: ["epic", "feature", "story"], theme: "auto" } },
  },
};
