"""Exit codes, the conformance report and known differences, of small suites run by a pytest of their own."""

from __future__ import annotations

from typing import Any

import pytest

from session_affinity.conformance import report
from tests.component.plugin.conftest import run as run_suite

pytest_plugins = ["pytester"]

HOLDS = """
@claimed("C01", "A claim that holds")
def test_holds(check):
    check(HOLDS)
"""
VIOLATED = """
@claimed("C02", "A violated claim")
def test_violated(check):
    check(VIOLATED)
"""
ERROR = """
@claimed("C03", "A claim that cannot be tested")
def test_error(check):
    raise ClusterError("GET /api/v1/pods: no answer from the API: refused")
"""
SKIPPED = """
@claimed("C04", "A skipped claim")
def test_skipped(check):
    pytest.skip("kube-proxy runs in nftables mode")
"""
TEARDOWN = """
@pytest.fixture
def undeletable():
    yield
    raise ClusterError("DELETE /api/v1: no answer from the API: refused")

@claimed("C05", "A claim whose clean-up fails")
def test_teardown(undeletable, check):
    check(HOLDS)
"""
NODES = """
@claimed("C06", "A claim about nodes", subject="rules", promised_by=KUBE_PROXY, modes=IPTABLES)
def test_nodes(check):
    check(HOLDS)
"""
ABORTED = """
@pytest.fixture
def cluster_that_does_not_start():
    from session_affinity.plugin.session import abort_session_on_error
    with abort_session_on_error("no cluster"):
        raise PreflightError("no iptables on this machine", next_step="install it")

@claimed("C07", "A claim without a cluster")
def test_aborted(cluster_that_does_not_start, check):
    check(HOLDS)
"""


def run(pytester: pytest.Pytester, text: str, *options: str) -> tuple[int, str, dict[str, Any]]:
    """Run a suite; return the exit code, the output, and the report, empty when none was written."""
    plugin = ("-p", "allure_pytest.plugin", "-p", "session_affinity.plugin.conformance")
    done = run_suite(pytester, text, *plugin, "--report=report.yaml", *(options or ("--cluster=embedded",)))
    file = pytester.path / "report.yaml"
    return int(done.ret), done.stdout.str() + done.stderr.str(), report.read(file) if file.exists() else {}


def results(document: dict[str, Any]) -> dict[str, str]:
    return {claim["id"]: claim["result"] for claim in document["claims"]}


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        (HOLDS, 0, {"C01": "passed"}),
        (HOLDS + VIOLATED + ERROR, 1, {"C01": "passed", "C02": "failed", "C03": "undetermined"}),
        (HOLDS + ERROR, 10, {"C01": "passed", "C03": "undetermined"}),
        (HOLDS + TEARDOWN, 10, {"C01": "passed", "C05": "undetermined"}),
        (HOLDS + SKIPPED, 0, {"C01": "passed", "C04": "skipped"}),
        (SKIPPED, 11, {"C04": "skipped"}),
        (ABORTED + HOLDS, 10, {"C07": "undetermined", "C01": "undetermined"}),
    ],
    ids=["holds", "violated", "undetermined", "clean-up", "skipped", "nothing judged", "no cluster"],
)
def test_the_exit_code_says_what_the_report_says(
    pytester: pytest.Pytester, text: str, code: int, expected: dict[str, str]
) -> None:
    returned, output, document = run(pytester, text)

    assert returned == code, output
    assert results(document) == expected
    assert report.problems(document) == ()


def test_claims_that_were_not_selected_are_in_the_report(pytester: pytest.Pytester) -> None:
    code, _, document = run(pytester, HOLDS + VIOLATED, "--cluster=embedded", "-m", "C01")

    assert code == 0
    results = [(claim["id"], claim.get("reason")) for claim in document["claims"]]
    assert results == [("C01", None), ("C02", "deselected")]


def test_without_access_to_nodes_a_run_that_requires_it_is_not_green(pytester: pytest.Pytester) -> None:
    options = ("--cluster=external", "--kubeconfig=/nonexistent")

    code, _, document = run(pytester, HOLDS + NODES, *options)
    required, _, _ = run(pytester, HOLDS + NODES, *options, "--require=node-claims")

    assert (code, required) == (0, 10)
    assert [claim["reason"] for claim in document["claims"] if claim["id"] == "C06"] == ["noAccess"]


def test_a_known_difference_fails_no_run_and_says_when_it_passes(pytester: pytest.Pytester) -> None:
    known = "differences:\n- {claim: C02, reason: rounded, link: 'https://example.org/7'}\n"
    (pytester.path / "known.yaml").write_text(known + "- {claim: C01, reason: mended since}\n")
    options = ("--cluster=embedded", "--differences=known.yaml")

    code, output, document = run(pytester, HOLDS + VIOLATED, *options)

    assert code == 0, output
    assert results(document) == {"C01": "passed", "C02": "differs"}
    assert document["passesAfterAll"] == ["C01"]
    assert "passes after all: C01" in output


def test_a_known_difference_hides_no_error(pytester: pytest.Pytester) -> None:
    (pytester.path / "known.yaml").write_text("differences: [{claim: C03, reason: rounded}]\n")

    code, output, document = run(pytester, ERROR, "--cluster=embedded", "--differences=known.yaml")

    assert code == 10, output
    assert results(document) == {"C03": "undetermined"}


KNOWN = """
from session_affinity.claims import KnownBehaviour
from session_affinity.plugin.selection import learn

@pytest.fixture(scope="session")
def proxy_configs(pytestconfig):
    learn(pytestconfig, proxy_mode="iptables", releases=((1, 36),))

FORGETS = KnownBehaviour("forgets", "https://example.org/7", since="1.32", until="1.37")
MENDED = KnownBehaviour("waits", "https://example.org/8", until="1.36")

@claimed("C07", "A known behaviour", promised_by=KUBE_PROXY, known=(MENDED, FORGETS))
def test_known(check):
    check(VIOLATED)

@claimed("C08", "A known behaviour that is gone", promised_by=KUBE_PROXY, known=(FORGETS,))
def test_gone(check):
    check(HOLDS)

@claimed("C09", "A known behaviour of other versions", promised_by=KUBE_PROXY, known=(MENDED,))
def test_other_version(check):
    check(VIOLATED)

@claimed("C10", "A known behaviour that cannot be tested", promised_by=KUBE_PROXY, known=(FORGETS,))
def test_error(check):
    raise ClusterError("GET /api/v1/pods: no answer from the API: refused")
"""


def test_a_known_behaviour_fails_no_run_in_its_versions_and_says_when_it_is_gone(pytester: pytest.Pytester) -> None:
    code, output, document = run(pytester, KNOWN, "--cluster=embedded", "-p", "fixtures.cluster")

    assert code == 1, output
    assert results(document) == {"C07": "differs", "C08": "passed", "C09": "failed", "C10": "undetermined"}
    assert document["claims"][0]["link"] == "https://example.org/7"
    assert document["passesAfterAll"] == ["C08"]
    assert "passes after all: C08, although it is known that kube-proxy forgets (from 1.32 on, before 1.37)" in output


def test_a_known_behaviour_of_some_nodes_passes_without_a_word(pytester: pytest.Pytester) -> None:
    """During an upgrade the claim may be judged on a node that does not have it."""
    code, output, document = run(
        pytester, KNOWN.replace("((1, 36),)", "((1, 36), (1, 37))"), "--cluster=embedded", "-p", "fixtures.cluster"
    )

    assert code == 1, output
    assert results(document) == {"C07": "differs", "C08": "passed", "C09": "failed", "C10": "undetermined"}
    assert document["passesAfterAll"] == []
    assert "passes after all" not in output


MANY_ENDPOINTS = """
from dataclasses import replace
from session_affinity.claims.known_behaviour import UNUSED_CHAINS_KEPT
from session_affinity.plugin.selection import learn

@pytest.fixture(scope="session")
def proxy_configs(pytestconfig):
    learn(pytestconfig, proxy_mode="iptables", releases=((1, 37),))

@claimed("C11", "A violation that follows from many endpoints", promised_by=KUBE_PROXY, known=(UNUSED_CHAINS_KEPT,))
def test_many(check):
    check(replace(VIOLATED, known=UNUSED_CHAINS_KEPT))

@claimed("C12", "A violation that does not", promised_by=KUBE_PROXY, known=(UNUSED_CHAINS_KEPT,))
def test_other_reason(check):
    check(VIOLATED)

@claimed("C13", "A claim that has no such behaviour", promised_by=KUBE_PROXY)
def test_no_such_behaviour(check):
    check(replace(VIOLATED, known=UNUSED_CHAINS_KEPT))

@claimed("C14", "A claim that holds", promised_by=KUBE_PROXY, known=(UNUSED_CHAINS_KEPT,))
def test_holds(check):
    check(HOLDS)
"""


def test_a_behaviour_that_depends_on_size_is_known_where_the_verdict_says_so(pytester: pytest.Pytester) -> None:
    code, output, document = run(pytester, MANY_ENDPOINTS, "--cluster=embedded", "-p", "fixtures.cluster")

    assert code == 1, output
    assert results(document) == {"C11": "differs", "C12": "failed", "C13": "failed", "C14": "passed"}
    assert "above 1000 endpoints" in document["claims"][0]["message"]
    assert document["claims"][0]["link"]
    assert document["passesAfterAll"] == []


@pytest.mark.parametrize("options", [("--implementation-version=main",), ("--differences=missing.yaml",)])
def test_options_that_cannot_be_honoured_are_a_usage_error(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    code, output, document = run(pytester, HOLDS, "--cluster=embedded", *options)

    assert (code, document) == (4, {}), output
