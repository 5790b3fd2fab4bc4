// The quality gate: every leg was tested, each judged as many claims as it was to, and none failed.
import { expected, ranOn } from "./legs.mjs";

const judged = (leg) => (result) => ranOn(leg)(result) && result.status !== "skipped";

export const rules = [
  { id: "all results", maxFailures: 0 },
  ...(expected.length ? [{ id: "all legs", environmentsTested: expected.map((leg) => leg.name) }] : []),
  ...expected.map((leg) => ({ id: leg.name, filter: judged(leg), minTestsCount: leg.judged })),
];
