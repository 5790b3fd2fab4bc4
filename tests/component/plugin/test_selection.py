"""The claims that are skipped by the options or by the cluster, and the options that list something instead."""

from __future__ import annotations

import pytest

from session_affinity.clusters.options import NO_ACCESS
from session_affinity.plugin.options import ONLY_BEHAVIOUR
from session_affinity.plugin.selection import NOT_TO_BE_DISTURBED
from tests.component.plugin.conftest import run

pytest_plugins = ["pytester"]

SUITE = """
from session_affinity.plugin.selection import learn

@pytest.fixture(scope="session")
def proxy_configs(pytestconfig):
    learn(pytestconfig, nodes_not_judged={reason!r})

@claimed("C10", "A claim about behaviour")
def test_behaviour():
    pass

@claimed("C16", "A claim about rules", "rules", KUBE_PROXY, modes=IPTABLES)
def test_rules():
    pass

@pytest.mark.disruptive
@claimed("C86", "A disruptive claim", "disruption")
def test_disruptive():
    pass
"""
EXTERNAL = ("--cluster=external", "--kubeconfig=f")


def judge(pytester: pytest.Pytester, *args: str, reason: str = "") -> pytest.RunResult:
    return run(pytester, SUITE.format(reason=reason), "-p", "fixtures.cluster", "-rs", *args)


@pytest.mark.parametrize("options", [EXTERNAL, ("--kubeconfig=f",)])
def test_without_node_access_claims_about_nodes_are_skipped(
    options: tuple[str, ...], pytester: pytest.Pytester
) -> None:
    result = judge(pytester, *options, "-m", "not disruptive")

    result.assert_outcomes(passed=1, skipped=1, deselected=1)
    result.stdout.fnmatch_lines([f"SKIPPED*{NO_ACCESS}"])
    assert "--node-access agent" in NO_ACCESS


def test_with_node_access_claims_about_nodes_are_judged(pytester: pytest.Pytester) -> None:
    judge(pytester, *EXTERNAL, "--node-access=agent", "-m", "not disruptive").assert_outcomes(passed=2, deselected=1)


def test_an_external_cluster_is_not_disrupted(pytester: pytest.Pytester) -> None:
    result = judge(pytester, *EXTERNAL, "-m", "disruptive")

    result.assert_outcomes(skipped=1, deselected=2)
    result.stdout.fnmatch_lines([f"SKIPPED*{NOT_TO_BE_DISTURBED}"])


def test_a_cluster_of_the_run_is_disrupted(pytester: pytest.Pytester) -> None:
    judge(pytester, "--cluster=kind", "-m", "disruptive").assert_outcomes(passed=1, deselected=2)


def test_with_only_behaviour_claims_about_nodes_are_skipped(pytester: pytest.Pytester) -> None:
    result = judge(pytester, "--cluster=embedded", "--only-behaviour", "-m", "C16")

    result.assert_outcomes(skipped=1, deselected=2)
    result.stdout.fnmatch_lines([f"SKIPPED*{ONLY_BEHAVIOUR}"])


def test_a_reason_that_only_the_cluster_gives_skips_a_claim_in_its_set_up(pytester: pytest.Pytester) -> None:
    result = judge(pytester, *EXTERNAL, "--node-access=agent", "-m", "C16", reason="two ranges")

    result.assert_outcomes(skipped=1, deselected=2)
    result.stdout.fnmatch_lines(["SKIPPED*two ranges"])


def test_list_images_needs_no_cluster(pytester: pytest.Pytester) -> None:
    result = judge(pytester, "--list-images", "--cluster=external", "--image-registry=mirror.example/k8s")

    names = [image.partition(":")[0] for image in result.outlines]
    assert names == ["mirror.example/k8s/nicolaka/netshoot", "mirror.example/k8s/traefik/whoami"]
    assert all("@sha256:" in image for image in result.outlines)
    assert result.ret == pytest.ExitCode.OK
