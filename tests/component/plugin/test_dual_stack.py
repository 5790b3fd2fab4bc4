"""Claims about two IP families are judged on dual-stack clusters and skipped on others."""

from __future__ import annotations

import pytest

from fixtures.pods import SamplePods
from tests.component.plugin.conftest import run

pytest_plugins = ["pytester"]

SUITE = """
from session_affinity.plugin.selection import learn

@pytest.fixture(scope="session")
def families(pytestconfig):
    learn(pytestconfig, families={families!r})

@claimed("C10", "A claim about one family")
def test_behaviour():
    pass

@pytest.mark.dual_stack
@claimed("C61", "A claim about two families")
def test_second_family():
    pass
"""


def judge(pytester: pytest.Pytester, *args: str, families: tuple[str, ...]) -> pytest.RunResult:
    return run(pytester, SUITE.format(families=families), "-p", "fixtures.cluster", "-rs", *args)


@pytest.mark.parametrize(("ip_family", "name"), [("ipv4", "IPv4"), ("ipv6", "IPv6")])
def test_a_single_stack_option_skips_them(ip_family: str, name: str, pytester: pytest.Pytester) -> None:
    result = judge(pytester, f"--ip-family={ip_family}", families=("IPv4", "IPv6"))

    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED*the cluster has {name} only: *need --ip-family dual"])


def test_a_single_stack_cluster_skips_them(pytester: pytest.Pytester) -> None:
    result = judge(pytester, families=("IPv6",))

    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*the cluster has IPv6 only: *"])


@pytest.mark.parametrize("options", [(), ("--ip-family=dual",)])
def test_a_dual_stack_cluster_is_judged(options: tuple[str, ...], pytester: pytest.Pytester) -> None:
    judge(pytester, *options, families=("IPv4", "IPv6")).assert_outcomes(passed=2)


def test_the_families_of_a_cluster_are_those_of_every_pod() -> None:
    def pod(*addresses: str) -> dict[str, object]:
        return {"status": {"podIP": addresses[0], "podIPs": [{"ip": address} for address in addresses]}}

    assert SamplePods({"a": pod("10.0.0.1", "fd00::1"), "b": pod("10.0.0.2", "fd00::2")}).families == ("IPv4", "IPv6")
    assert SamplePods({"a": pod("fd00::1", "10.0.0.1"), "b": pod("fd00::2", "10.0.0.2")}).families == ("IPv6", "IPv4")
    assert SamplePods({"a": pod("10.0.0.1", "fd00::1"), "b": pod("10.0.0.2")}).families == ("IPv4",)


def test_a_pod_has_an_address_in_each_family() -> None:
    pods = SamplePods({"a": {"status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}}})

    assert (pods.address("a"), pods.address("a", "IPv4"), pods.address("a", "IPv6")) == (
        "10.0.0.1",
        "10.0.0.1",
        "fd00::1",
    )
