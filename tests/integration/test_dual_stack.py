"""Embedded clusters with IPv6: addresses of nodes, pods and Services in each family, and nothing left behind."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.addresses import ranges_of
from tests.integration import traces
from tests.integration.conftest import ROOT
from tests.integration.test_cluster_lifecycle import kubectl, running_cluster

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import CommandLine

NAME = traces.NAMES[0]


def check_claims(embedded: CommandLine, claims: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the suite for some claims on the kept cluster."""
    argv = (sys.executable, "-m", "pytest", "-m", claims, "--cluster-name", NAME, "--keep-cluster", *options)
    return subprocess.run(
        argv, cwd=ROOT, env=embedded.environment, capture_output=True, text=True, check=False, timeout=200
    )


@pytest.mark.parametrize("ip_family", ["ipv6", "dual"])
def test_a_cluster_has_addresses_of_the_requested_families_and_leaves_nothing(
    ip_family: str, embedded: CommandLine, state_root: Path, before: traces.Traces
) -> None:
    """Nodes and pods have an address of each family, and the suite checks claims about one and both families."""
    embedded("up", "--name", NAME, "--ip-family", ip_family)
    added = traces.now(state_root).added_to(before)
    run = check_claims(embedded, "C10 or C13 or C45 or C61", "--cluster=embedded")
    cluster = running_cluster()
    nodes = json.loads(kubectl(cluster, "get", "nodes", "-o", "json"))["items"]
    pods = json.loads(kubectl(cluster, "get", "pods", "-o", "json"))["items"]
    service = json.loads(kubectl(cluster, "get", "service", "kubernetes", "-o", "json"))
    embedded("down", "--name", NAME)

    ranges = ranges_of(ip_family)
    assert added.keys() == {"processes", "cgroups", "state"}  # no listener beyond loopback, no link, route or mount
    for node in nodes:
        addresses = [entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP"]
        assert _within(addresses, [family_ranges.nodes for family_ranges in ranges]), addresses
        assert node["spec"]["podCIDRs"] == list(cluster.layout.nodes[nodes.index(node)].pod_cidrs)
    assert len(pods) == 4
    for pod in pods:
        addresses = [entry["ip"] for entry in pod["status"]["podIPs"]]
        assert _within(addresses, [family_ranges.pods for family_ranges in ranges]), addresses
    assert service["spec"]["clusterIP"] == ranges[0].service_address(1)
    assert run.returncode == 0, run.stdout
    assert ("4 passed" if ip_family == "dual" else "2 passed, 2 skipped") in run.stdout
    assert traces.wait_until_gone(before, state_root) == {}


def test_a_running_cluster_of_another_family_is_refused(embedded: CommandLine) -> None:
    """By `up` and by a run of the suite with --ip-family; without that option a run uses the cluster as it is."""
    embedded("up", "--name", NAME, "--ip-family", "dual")

    output = embedded("up", "--name", NAME, code=4)
    refused = check_claims(embedded, "C02", "--ip-family=ipv6")
    accepted = check_claims(embedded, "C02 or C60")

    assert "iptables, dual, 3 workers; requested were" in output
    assert refused.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"--ip-family ipv6: the running cluster {NAME} has dual" in refused.stdout + refused.stderr
    assert "2 passed" in accepted.stdout, accepted.stdout


def _within(addresses: list[str], ranges: list[str]) -> bool:
    """Return whether there is one address per range, in the same order."""
    return len(addresses) == len(ranges) and all(
        ipaddress.ip_address(address) in ipaddress.ip_network(range_)
        for address, range_ in zip(addresses, ranges, strict=True)
    )
