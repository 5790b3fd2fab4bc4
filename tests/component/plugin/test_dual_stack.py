"""Claims about two IP families are judged on clusters that have two, and skipped by rule elsewhere."""

from __future__ import annotations

import pytest

from fixtures.pods import SamplePods

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.unit

PLUGINS = [word for name in ("options", "claims", "selection", "cluster") for word in ("-p", f"fixtures.{name}")]
SUITE = """
import pytest
from fixtures.claims import claim
from fixtures.selection import FAMILIES

@pytest.fixture(scope="session")
def families(pytestconfig):
    pytestconfig.stash[FAMILIES] = {families!r}

@claim("C10")
def test_behaviour():
    pass

@pytest.mark.dual_stack
@claim("C61")
def test_second_family():
    pass
"""


def run(pytester: pytest.Pytester, *args: str, families: tuple[str, ...] = ()) -> pytest.RunResult:
    pytester.makeini("[pytest]\nmarkers =\n claim: x\n dataplane: x\n api: x\n dual_stack: x\nstrict = true\n")
    pytester.makepyfile(test_suite=SUITE.format(families=families))
    return pytester.runpytest_inprocess(*PLUGINS, "-p", "no:cacheprovider", "-rs", *args)


@pytest.mark.parametrize(("ip_family", "named"), [("ipv4", "IPv4"), ("ipv6", "IPv6")])
def test_on_a_single_stack_cluster_that_is_asked_for_they_are_skipped(
    ip_family: str, named: str, pytester: pytest.Pytester
) -> None:
    result = run(pytester, f"--ip-family={ip_family}", families=("IPv4", "IPv6"))

    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED*the cluster has {named} only: *need --ip-family dual"])


def test_on_a_single_stack_cluster_that_is_found_they_are_skipped(pytester: pytest.Pytester) -> None:
    result = run(pytester, families=("IPv6",))

    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*the cluster has IPv6 only: *"])


@pytest.mark.parametrize("options", [(), ("--ip-family=dual",)])
def test_on_a_dual_stack_cluster_they_are_judged(options: tuple[str, ...], pytester: pytest.Pytester) -> None:
    run(pytester, *options, families=("IPv4", "IPv6")).assert_outcomes(passed=2)


def test_the_families_are_those_that_every_pod_has() -> None:
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
