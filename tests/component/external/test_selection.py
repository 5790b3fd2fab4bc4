"""Which claims are judged on a cluster by what it gives access to; what the command line says without one."""

from __future__ import annotations

import pytest

from session_affinity.clusters.external.discovery import NO_ACCESS, NONE, Proxy
from session_affinity.clusters.external.placement import Placement
from session_affinity.clusters.external.provider import facts_of
from session_affinity.plugin.options import ONLY_BEHAVIOUR

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.unit

PLUGINS = [word for name in ("options", "claims", "selection", "cluster") for word in ("-p", f"fixtures.{name}")]
SUITE = """
import pytest
from fixtures.claims import claim
from fixtures.selection import FOREIGN, NOT_JUDGED

@pytest.fixture(scope="session")
def proxy(pytestconfig):
    pytestconfig.stash[NOT_JUDGED] = {reason!r}
    pytestconfig.stash[FOREIGN] = {foreign!r}

@claim("C10")
def test_behaviour():
    pass

@claim("C24")
def test_behaviour_that_differs():
    assert False

@claim("C24c")
def test_behaviour_of_kube_proxy_that_differs():
    assert False

@claim("C16")
@pytest.mark.dataplane("iptables")
def test_rules():
    pass
"""
DISTURBING = """

@claim("C86")
@pytest.mark.disturbs
def test_crowd():
    pass
"""


def run(pytester: pytest.Pytester, *args: str, reason: str = "", foreign: bool = False) -> pytest.RunResult:
    pytester.makeini(
        "[pytest]\nmarkers =\n claim: x\n dataplane: x\n api: x\n kube_proxy: x\n disturbs: x\nstrict = true\n"
    )
    pytester.makepyfile(test_suite=SUITE.format(reason=reason, foreign=foreign))
    return pytester.runpytest_inprocess(*PLUGINS, "-p", "no:cacheprovider", "-rs", *args)


def test_without_node_access_claims_about_nodes_are_skipped_and_the_flag_is_named(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--cluster=external", "--kubeconfig=f")

    result.assert_outcomes(passed=1, failed=2, skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED*{NO_ACCESS}"])
    assert "--node-access agent" in NO_ACCESS


def test_a_kubeconfig_is_enough_to_mean_an_external_cluster(pytester: pytest.Pytester) -> None:
    run(pytester, "--kubeconfig=f").assert_outcomes(passed=1, failed=2, skipped=1)


def test_with_node_access_every_claim_is_judged(pytester: pytest.Pytester) -> None:
    run(pytester, "--kubeconfig=f", "--node-access=agent").assert_outcomes(passed=2, failed=2)


@pytest.mark.parametrize(
    ("cluster", "crowd"), [("--cluster=external", "skipped"), ("--cluster=kind", "passed")]
)
def test_a_cluster_that_is_not_the_suites_own_is_not_disturbed(
    cluster: str, many_services: str, pytester: pytest.Pytester
) -> None:
    pytester.path.joinpath("test_crowd.py").write_text(
        SUITE.partition("@claim")[0].format(reason="", foreign=False) + DISTURBING
    )

    result = run(pytester, cluster, "--kubeconfig=f" if many_services == "skipped" else "-v", "test_crowd.py")

    result.assert_outcomes(**{many_services: 1})


def test_claims_about_nodes_are_skipped_where_only_behaviour_is_asked_for(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--cluster=embedded", "--only-behaviour", "-m", "claim(id='C16')")

    result.assert_outcomes(skipped=1, deselected=3)
    result.stdout.fnmatch_lines([f"SKIPPED*{ONLY_BEHAVIOUR}"])


def test_what_the_cluster_cannot_be_judged_by_is_skipped_once_it_is_known(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--kubeconfig=f", "--node-access=agent", reason="two ranges")

    result.assert_outcomes(passed=1, failed=2, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*two ranges"])


def test_without_kube_proxy_its_habits_may_differ_and_the_api_still_holds(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--kubeconfig=f", "--node-access=agent", reason="no kube-proxy", foreign=True)

    result.assert_outcomes(passed=1, failed=1, xfailed=1, skipped=1)


def test_images_are_listed_without_a_cluster(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--list-images", "--cluster=external", "--image-registry=mirror.example/k8s")

    names = [image.partition(":")[0] for image in result.outlines]
    assert names == ["mirror.example/k8s/nicolaka/netshoot", "mirror.example/k8s/traefik/whoami"]
    assert all("@sha256:" in image for image in result.outlines)
    assert result.ret == pytest.ExitCode.OK


def test_facts_say_why_nothing_about_nodes_is_judged() -> None:
    iptables = Proxy("iptables", "here", "10.0.0.0/8")
    node = {"a": None}

    assert facts_of(iptables, {}, Placement({}))["rules not judged"] == NO_ACCESS
    assert "rules not judged" not in facts_of(iptables, node, Placement({}))
    assert "no kube-proxy" in facts_of(Proxy(NONE, "looked"), node, Placement({}))["rules not judged"]
    assert facts_of(iptables, node, Placement({}))["cluster CIDR"] == "10.0.0.0/8"
