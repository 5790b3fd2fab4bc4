"""Embedded clusters of every IP family: nodes, pods and Services have the addresses, and nothing of them stays."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.integration.test_lifecycle import kubectl, running

from session_affinity.clusters.addresses import ranges_of
from tests.integration import traces
from tests.integration.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import CommandLine

NAME = traces.NAMES[0]


def judge(embedded: CommandLine, claims: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run claims on the kept cluster as a user would."""
    argv = (sys.executable, "-m", "pytest", "-m", claims, "--cluster-name", NAME, "--keep-cluster", *options)
    return subprocess.run(
        argv, cwd=ROOT, env=embedded.environment, capture_output=True, text=True, check=False, timeout=200
    )


@pytest.mark.parametrize("ip_family", ["ipv6", "dual"])
def test_a_cluster_has_the_addresses_it_was_asked_for_and_leaves_nothing(
    ip_family: str, embedded: CommandLine, state_root: Path, before: traces.Traces
) -> None:
    """Nodes, pods and the API's own Service have an address of each family; the claims of all families are judged."""
    embedded("up", "--name", NAME, "--ip-family", ip_family)
    added = traces.now(state_root).added_to(before)
    judged = judge(embedded, "C10 or C13 or C45 or C61", "--cluster=embedded")
    cluster = running()
    nodes = json.loads(kubectl(cluster, "get", "nodes", "-o", "json"))["items"]
    pods = json.loads(kubectl(cluster, "get", "pods", "-o", "json"))["items"]
    service = json.loads(kubectl(cluster, "get", "service", "kubernetes", "-o", "json"))
    embedded("down", "--name", NAME)

    ranges = ranges_of(ip_family)
    assert added.keys() == {"processes", "cgroups", "state"}  # no listener beyond loopback, no link, route or mount
    for node in nodes:
        addresses = [one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
        assert _within(addresses, [one.nodes for one in ranges]), addresses
        assert node["spec"]["podCIDRs"] == list(cluster.layout.nodes[nodes.index(node)].pod_cidrs)
    assert len(pods) == 4
    for pod in pods:
        addresses = [one["ip"] for one in pod["status"]["podIPs"]]
        assert _within(addresses, [one.pods for one in ranges]), addresses
    assert service["spec"]["clusterIP"] == ranges[0].service_address(1)
    assert judged.returncode == 0, judged.stdout
    assert ("4 passed" if ip_family == "dual" else "2 passed, 2 skipped") in judged.stdout
    assert traces.wait_until_gone(before, state_root) == {}


def test_another_family_than_a_running_cluster_has_is_refused(embedded: CommandLine) -> None:
    """By the command line and by a run of the suite, before anything starts; without a wish it is taken as it is."""
    embedded("up", "--name", NAME, "--ip-family", "dual")

    said = embedded("up", "--name", NAME, code=4)
    judged = judge(embedded, "C02", "--ip-family=ipv6")
    taken = judge(embedded, "C02 or C60")

    assert "iptables, dual, 3 workers; asked for were" in said
    assert judged.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"--ip-family ipv6: the running cluster {NAME} has dual" in judged.stdout + judged.stderr
    assert "2 passed" in taken.stdout, taken.stdout


def _within(addresses: list[str], ranges: list[str]) -> bool:
    """Return whether there is one address for each range, in that order."""
    return len(addresses) == len(ranges) and all(
        ipaddress.ip_address(address) in ipaddress.ip_network(range_)
        for address, range_ in zip(addresses, ranges, strict=True)
    )
