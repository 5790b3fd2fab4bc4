"""The end of a run on the terminal, and who ran it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import session_affinity
from session_affinity import about
from session_affinity.claims import API, Claim
from session_affinity.claims.catalogue import ClaimTest
from session_affinity.plugin import run_files, summary
from session_affinity.plugin.check import HEADLINE

FACTS = {
    "cluster": "myk8s",
    "provider": "embedded",
    "Kubernetes": "v1.37.2",
    "nodes": "4",
    "proxy mode": "iptables",
    "rules read with": "iptables-save, nf_tables",
    "kernel": "6.1.0",
}


TITLES = {
    "C02": "The default is None",
    "C09": "Requests are spread",
    "C10": "One endpoint answers",
    "C05": "The timeout is programmed",
    "C16n": "Rules match sets",
    "C18n": "Chains update sets",
}
CATALOGUE = {
    claim_id: ClaimTest(
        Claim(claim_id, title, API, "a field", false_alarm=1e-7 if claim_id == "C09" else 0),
        "rules",
        f"suite/test_x.py::test_{claim_id}",
        *("Why.", "x.", "y.", "z."),
    )
    for claim_id, title in TITLES.items()
}


def report(claim: str, headline: str = "", longrepr: Any = None) -> Any:
    properties = [("claim", claim), *([(HEADLINE, headline)] if headline else [])]
    return SimpleNamespace(user_properties=properties, longrepr=longrepr)


SKIPPED = ("x.py", 1, "Skipped: iptables mode")
STATS = {
    "passed": [report("C10", "100 of 100 from webpod2"), report("C02"), SimpleNamespace(user_properties=[])],
    "failed": [report("C05", "not every rule has 30 s")],
    "skipped": [report("C16n", longrepr=SKIPPED), report("C18n", longrepr=SKIPPED)],
}


def test_each_claim_has_a_line_in_the_order_of_the_catalogue() -> None:
    assert list(summary.claim_lines(CATALOGUE, STATS)) == [
        "passed  C02   The default is None",
        "passed  C10   100 of 100 from webpod2",
        "failed  C05   The timeout is programmed: not every rule has 30 s",
        "skipped C16n C18n: iptables mode",
    ]


def test_claims_are_counted_and_other_tests_are_not() -> None:
    assert summary.counts_line(CATALOGUE, STATS) == "1 failed, 2 passed, 2 skipped"
    assert summary.counts_line(CATALOGUE, {}) == "no claim judged"


def test_a_claim_is_counted_once_with_its_worst_outcome() -> None:
    stats = {"passed": [report("C10", "100 of 100")], "error": [report("C10", "100 of 100")]}

    assert list(summary.claim_lines(CATALOGUE, stats)) == ["error   C10   100 of 100"]
    assert summary.counts_line(CATALOGUE, stats) == "1 error"


def test_the_false_alarm_bound_is_that_of_the_judged_claims() -> None:
    assert summary.false_alarm_line(CATALOGUE, STATS) == "at most 0.0e+00, 1e-06 is allowed"
    assert summary.false_alarm_line(CATALOGUE, {"passed": [report("C09")]}) == "at most 1.0e-07, 1e-06 is allowed"


def test_the_cluster_has_one_line() -> None:
    assert summary.cluster_line(FACTS) == (
        "myk8s, embedded, Kubernetes v1.37.2, 4 nodes, kube-proxy iptables (iptables-save, nf_tables), kernel 6.1.0"
    )


def test_a_workflow_is_named_with_its_address() -> None:
    environment = {
        "GITHUB_RUN_ID": "42",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "owner/name",
        "GITHUB_WORKFLOW": "conformance",
        "GITHUB_RUN_NUMBER": "7",
    }

    assert run_files.executor(environment) == {
        "name": "GitHub Actions",
        "type": "github",
        "buildName": "conformance #7",
        "buildUrl": "https://github.com/owner/name/actions/runs/42",
    }
    assert run_files.executor({})["type"] == "local"


def test_a_directory_without_history_has_no_commit(tmp_path: Any) -> None:
    assert about.commit(tmp_path) == ""
    assert about.version() == session_affinity.__version__
