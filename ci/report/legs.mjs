// The legs of a report as Allure's environments, so that a result on one leg never counts as a retry of another's.
// ci/matrix/report.py writes the legs that have results, with their labels and facts, to the file that AFFINITY_LEGS
// names. Without it there is one environment for all results.
import { readFileSync } from "node:fs";

const file = process.env.AFFINITY_LEGS;
const legs = file ? JSON.parse(readFileSync(file, "utf8")) : [];

// Results from before legs had an IP family are IPv4 ones (session_affinity/legs.py).
const DEFAULTS = { family: "ipv4" };

const hasLabelsOf = (leg) => ({ labels }) =>
  Object.entries(leg.labels).every(([name, value]) =>
    (labels.find((label) => label.name === name)?.value ?? DEFAULTS[name]) === value,
  );

export const environments = Object.fromEntries(
  legs.map((leg) => [leg.id, { name: leg.name, variables: leg.variables, matcher: hasLabelsOf(leg) }]),
);
