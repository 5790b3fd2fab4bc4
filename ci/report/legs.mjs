// The legs of a report: every Kubernetes version, proxy mode and provider that the suite knows, and those that a
// matrix was to run. A leg's id and name are those of ci/matrix/legs.py.
import { readFileSync } from "node:fs";

const PROVIDERS = ["embedded", "kind", "external"];

const versionsFile = new URL("../../.github/kubernetes-versions.json", import.meta.url);
const { versions } = JSON.parse(readFileSync(versionsFile, "utf8"));

/** Whether a test result has a leg's labels. */
export const ranOn = (leg) => ({ labels }) =>
  [["k8s", leg.kubernetes], ["proxy", leg.proxy_mode], ["provider", leg.provider]].every(([name, value]) =>
    labels.some((label) => label.name === name && label.value === value),
  );

const known = versions.flatMap(({ minor, release, kind, proxy_modes }) =>
  proxy_modes.flatMap((proxy_mode) =>
    PROVIDERS.map((provider) => ({
      id: `k8s-${minor.replace(".", "-")}-${proxy_mode}-${provider}`,
      name: `${minor} ${proxy_mode} ${provider}`,
      kubernetes: minor,
      proxy_mode,
      provider,
      variables: {
        "Kubernetes": minor,
        "proxy mode": proxy_mode,
        "provider": provider,
        ...(provider === "kind" && { "kind": kind.version, "node image": kind.image }),
        ...(provider === "embedded" && { "release": release }),
      },
    })),
  ),
);

// What each leg was found to be, by its id, where its run has told it.
const facts = process.env.AFFINITY_FACTS ? JSON.parse(readFileSync(process.env.AFFINITY_FACTS, "utf8")) : {};

/** The environments of the report: one a leg, so that a leg's results never stand for another's. */
export const environments = Object.fromEntries(
  known.map((leg) => [leg.id, { name: leg.name, variables: { ...leg.variables, ...facts[leg.id] }, matcher: ranOn(leg) }]),
);

/** What the legs of this report were to run; empty for the report of a single run. */
export const expected = process.env.AFFINITY_EXPECTED
  ? JSON.parse(readFileSync(process.env.AFFINITY_EXPECTED, "utf8")).legs
  : [];
