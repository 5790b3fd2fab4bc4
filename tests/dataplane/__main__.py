"""Runs the agent on one node of an embedded cluster: see docs/bring-your-own-dataplane.md for its environment."""

from __future__ import annotations

import os
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from session_affinity.dataplane.model import family_of_range
from tests.dataplane import pod_network
from tests.dataplane.agent import PATHS, Agent
from tests.dataplane.watch import connect, watch

if TYPE_CHECKING:
    from tests.dataplane.watch import Change


def main() -> None:
    """Configure the pod network if the cluster has none, and follow the API until killed."""
    environment = os.environ
    owns_pod_network = "CNI_CONF_DIR" in environment
    if owns_pod_network:
        pod_network.write_configuration(Path(environment["CNI_CONF_DIR"]), environment["POD_CIDRS"].split(","))
    http = connect(Path(environment["KUBECONFIG"]))
    changes: SimpleQueue[Change] = SimpleQueue()
    for path in PATHS:
        watch(http, path, changes)
    ranges = {family_of_range(pods): pods for pods in environment["CLUSTER_CIDR"].split(",")}
    Agent(environment["NODE_NAME"], ranges, routes=owns_pod_network).run(changes)


if __name__ == "__main__":
    main()
