// The HTML report. No import of "allure" here: a plain object needs none. AFFINITY_HISTORY says where the history is.
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
  plugins: {
    awesome: { options: { groupBy: ["epic", "feature", "story"], theme: "auto" } },
  },
};
