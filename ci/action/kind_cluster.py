"""Writes the configuration of a kind cluster for the workflow kind-and-cni; kind and node image as outputs of the step.

From the environment: KUBERNETES, a minor version, empty for the default one; PROXY_MODE, IP_FAMILY and WORKERS;
DEFAULT_CNI, true or false; RUNNER_TEMP and GITHUB_OUTPUT, as GitHub sets them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSIONS: Final = Path(__file__).parents[2] / ".github" / "kubernetes-versions.json"
PROXY_MODES: Final = ("iptables", "nftables", "ipvs", "none")
IP_FAMILIES: Final = ("ipv4", "ipv6", "dual")
MOST_WORKERS: Final = 9


def configuration(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return kind's configuration; raises ValueError for a variable with another value than it may have."""
    workers = environment["WORKERS"]
    if workers not in map(str, range(1, MOST_WORKERS + 1)):
        raise ValueError(f"workers is {workers!r}: write a number from 1 to {MOST_WORKERS}")
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {
            "disableDefaultCNI": _choice(environment, "DEFAULT_CNI", ("true", "false")) == "false",
            "kubeProxyMode": _choice(environment, "PROXY_MODE", PROXY_MODES),
            "ipFamily": _choice(environment, "IP_FAMILY", IP_FAMILIES),
        },
        "nodes": [{"role": "control-plane"}, *({"role": "worker"} for _ in range(int(workers)))],
    }


def release(kubernetes: str) -> dict[str, str]:
    """Return the kind release and the node image of a minor version; raises ValueError for one without them."""
    versions = json.loads(VERSIONS.read_text(encoding="utf-8"))["versions"]
    for version in versions:
        if version["minor"] == kubernetes or (not kubernetes and version["default"]):
            return {"kind": version["kind"]["version"], "image": version["kind"]["image"]}
    minors = ", ".join(version["minor"] for version in versions)
    raise ValueError(f"kubernetes is {kubernetes!r}: write one of {minors}")


def main() -> int:
    """Write configuration and outputs."""
    file = Path(os.environ["RUNNER_TEMP"]) / "kind.json"
    try:
        outputs = {"config": str(file), **release(os.environ["KUBERNETES"])}
        file.write_text(json.dumps(configuration(os.environ)), encoding="utf-8")
    except ValueError as error:
        print(f"::error title=Session affinity::{str(error).replace('%', '%25')}")
        return 4
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as stream:
        stream.writelines(f"{name}={value}\n" for name, value in outputs.items())
    return 0


def _choice(environment: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    if environment[name] not in choices:
        raise ValueError(f"{name} is {environment[name]!r}: write one of {', '.join(choices)}")
    return environment[name]


if __name__ == "__main__":
    sys.exit(main())
