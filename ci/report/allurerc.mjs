// The HTML report. A plain object, so that nothing has to be imported from "allure". AFFINITY_HISTORY names the history file.
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
      name: "Could not be tested: cluster, machine or suite",
      matchers: { statuses: ["broken", "unknown"] },
      groupByMessage: true,
    },
    {
      name: "Skipped by rule: cannot be judged on this leg",
      matchers: { statuses: ["skipped"] },
      groupByMessage: true,
    },
  ],
  plugins: {
    awesome: { options: { groupBy: ["epic", "feature", "story"], theme: "auto" } },
  },
};
