"""The Allure results of a small suite of claims: messages, labels, steps and attachments."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.component.plugin.conftest import INI, PLUGINS, suite
from tests.integration.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SUITE = """
@pytest.fixture
def unschedulable():
    raise NotReadyError("pod webpod4: cannot be scheduled: 0/4 nodes are available", next_step="look")

@pytest.fixture
def undeletable():
    yield
    raise ClusterError("DELETE /api/v1: no answer from the API: refused")

@claimed("C10", "A client's requests all reach one endpoint")
def test_holds(check):
    target = Target("10.200.1.5", 9000)
    answers = Answers(tuple(Answer(target, "webpod2", 200, 40000 + n, 1, 0.001) for n in range(20)))
    recorder.record(recorder.RequestRound("net-pod", "10.10.0.6", "myk8s-worker", answers))
    check(HOLDS)

@claimed("C16", "Each rcheck rule has the right arguments", "rules", KUBE_PROXY)
def test_does_not_hold(check):
    check(VIOLATED)

@claimed("C21", "A client is in exactly one list", "lists")
def test_api_server_stops():
    raise ClusterError("GET /api/v1/pods: no answer from the API: refused", next_step="see whether it runs")

@claimed("C13", "Eight clients")
def test_unschedulable_pod(unschedulable):
    pass

@claimed("C09", "Without affinity requests spread")
def test_error_in_teardown(undeletable):
    pass

@claimed("C05", "A skipped claim")
def test_another_mode():
    pytest.skip("kube-proxy runs in nftables mode: claims about iptables rules cannot be judged here")

@claimed("C15", "A claim with evidence of an unknown kind")
def test_unknown_evidence(check):
    recorder.record("a string")
    check(HOLDS)

@claimed("C24", "A mistake in the suite")
def test_mistake():
    {}["no such key"]
"""
EXITING = """
from session_affinity.plugin.session import abort_session_on_error

@pytest.fixture(scope="session")
def cluster():
    with abort_session_on_error("no cluster"):
        raise PreflightError("the machine lacks conntrack", next_step="apt-get install conntrack")

@claimed("C10", "A client's requests all reach one endpoint")
def test_first(cluster):
    pass

@claimed("C16", "Each rcheck rule has the right arguments", "rules")
def test_second(cluster):
    pass
"""


@dataclass(frozen=True)
class ResultFiles:
    """The results of a run, by claim."""

    directory: Path
    by_claim: dict[str, dict[str, Any]]

    def status(self, claim: str) -> str:
        return str(self.by_claim[claim]["status"])

    def message(self, claim: str) -> str:
        return str(self.by_claim[claim]["statusDetails"]["message"])

    def labels(self, claim: str) -> dict[str, str]:
        return {label["name"]: label["value"] for label in self.by_claim[claim]["labels"]}

    def steps(self, claim: str) -> list[str]:
        return [step["name"] for step in self.by_claim[claim].get("steps", [])]

    def attachments(self, claim: str) -> dict[str, str]:
        steps = self.by_claim[claim].get("steps", [])
        attached = [attachment for step in steps for attachment in step.get("attachments", [])]
        return {
            f"{entry['name']} {entry['type']}": (self.directory / entry["source"]).read_text() for entry in attached
        }


def run(directory: Path, text: str, *args: str) -> ResultFiles:
    """Run a suite in a process of its own: allure-pytest keeps state in its module."""
    (directory / "pytest.ini").write_text(INI)
    (directory / "test_suite.py").write_text(suite(text))
    written = directory / "results"
    subprocess.run(
        (
            sys.executable, "-m", "pytest", "-p", "allure_pytest.plugin", *PLUGINS, "-c", "pytest.ini",
            "--cluster=embedded", "--kubernetes=1.36", f"--alluredir={written}", "test_suite.py", *args,
        ),
        cwd=directory,
        env={**os.environ, "PYTEST_ADDOPTS": "", "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        timeout=60,
    )  # fmt: skip
    documents = [json.loads(file.read_text()) for file in sorted(written.glob("*-result.json"))]
    claims = [
        next(label["value"] for label in document["labels"] if label["name"] == "claim") for document in documents
    ]
    return ResultFiles(written, dict(zip(claims, documents, strict=True)))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> ResultFiles:
    return run(tmp_path_factory.mktemp("suite"), SUITE)


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        pytest.param("C10", "passed", id="holds"),
        pytest.param("C16", "failed", id="does not hold"),
        pytest.param("C21", "broken", id="API server stopped"),
        pytest.param("C13", "broken", id="unschedulable pod"),
        pytest.param("C09", "broken", id="error in the teardown"),
        pytest.param("C05", "skipped", id="another mode"),
        pytest.param("C24", "broken", id="mistake in the suite"),
    ],
)
def test_only_a_violated_claim_is_a_failure(results: ResultFiles, claim: str, status: str) -> None:
    assert results.status(claim) == status


@pytest.mark.parametrize(
    ("claim", "begins"),
    [
        pytest.param("C16", "C16 does not hold on myk8s-worker2: rule 2: --seconds 3600, expected", id="failed"),
        pytest.param("C21", "ClusterError: GET /api/v1/pods: no answer from the API", id="API server stopped"),
        pytest.param("C13", "NotReadyError: pod webpod4: cannot be scheduled", id="unschedulable pod"),
        pytest.param("C09", "ClusterError: DELETE /api/v1: no answer", id="error in the teardown"),
        pytest.param("C05", "kube-proxy runs in nftables mode: claims about iptables rules cannot", id="skipped"),
        pytest.param("C24", "KeyError: 'no such key'", id="mistake in the suite"),
    ],
)
def test_a_message_begins_with_the_cause(results: ResultFiles, claim: str, begins: str) -> None:
    assert results.message(claim).startswith(begins)


def test_code_is_shown_only_where_it_is_at_fault(results: ResultFiles) -> None:
    trace = {claim: results.by_claim[claim]["statusDetails"].get("trace", "") for claim in ("C16", "C24", "C05")}

    assert re.fullmatch(r"test_suite\.py:\d+: test_does_not_hold", trace["C16"])
    assert '{}["no such key"]' in trace["C24"]
    assert trace["C05"] == ""


def test_a_result_has_the_title_the_subject_and_the_source_of_its_claim(results: ResultFiles) -> None:
    document, labels = results.by_claim["C10"], results.labels("C10")

    assert document["name"] == "C10 A client's requests all reach one endpoint"
    assert labels["epic"] == "Session affinity"
    assert labels["feature"] == "Which endpoints answer a client"
    assert labels["story"] == "A client's requests all reach one endpoint"
    assert labels["severity"] == "critical"
    assert results.labels("C16")["severity"] == "normal"
    assert "\n\n**Steps:** requests.\n" in document["description"]
    assert "**Source:** [Service.spec.sessionAffinity](https://" in document["description"]
    assert document["links"][0]["name"] == "Service.spec.sessionAffinity"


def test_every_result_has_the_leg_of_its_run(results: ResultFiles) -> None:
    """The leg of the options, as there is no cluster; without it the results of merged legs would hide each other."""
    for claim, document in results.by_claim.items():
        labels = results.labels(claim)
        parameters = {entry["name"]: entry["value"] for entry in document["parameters"] if not entry.get("excluded")}
        assert {name: labels[name] for name in ("k8s", "proxy", "provider", "family")} == {
            "k8s": "1.36",
            "proxy": "iptables",
            "provider": "embedded",
            "family": "ipv4",
        }
        assert parameters == {"kubernetes": "1.36", "proxy mode": "iptables", "provider": "embedded"}


def test_legs_have_histories_of_their_own(results: ResultFiles, tmp_path: Path) -> None:
    other = run(tmp_path, SUITE, "--proxy-mode=nftables", "-m", "C10")

    assert other.by_claim["C10"]["testCaseId"] == results.by_claim["C10"]["testCaseId"]
    assert other.by_claim["C10"]["historyId"] != results.by_claim["C10"]["historyId"]


def test_requests_are_recorded_without_the_test_attaching_them(results: ResultFiles) -> None:
    assert results.steps("C10") == [
        "Observe: net-pod (10.10.0.6) on myk8s-worker sent 20 requests: webpod2 20",
        "Judge: holds: 100 of 100 from webpod2",
    ]
    attachments = results.attachments("C10")
    assert attachments["answers text/csv"].count("webpod2") == 20
    assert attachments["answers image/svg+xml"].startswith("<svg ")


def test_a_failure_has_the_explanation_of_its_verdict(results: ResultFiles) -> None:
    assert results.steps("C16")[0].startswith("Judge: C16 does not hold on myk8s-worker2")
    assert "seen: --seconds 3600" in results.attachments("C16")["verdict text/plain"]


def test_a_verdict_does_not_depend_on_its_evidence(results: ResultFiles) -> None:
    assert results.status("C15") == "passed"
    assert results.steps("C15")[0].startswith(
        "the evidence could not be written, a mistake in the suite: AssertionError"
    )
    assert "Traceback" in results.attachments("C15")["trace text/plain"]


def test_evidence_can_be_turned_off(tmp_path: Path) -> None:
    without = run(tmp_path, SUITE, "--evidence=none", "-m", "C10 or C16")

    assert without.steps("C10") == without.steps("C16") == []
    assert without.message("C16").startswith("C16 does not hold on myk8s-worker2")
    assert not list(without.directory.glob("*-attachment.*"))


def test_without_a_cluster_the_first_claim_is_broken_with_the_reason(tmp_path: Path) -> None:
    """A leg of a matrix that never started must not be missing from the merged report."""
    aborted = run(tmp_path, EXITING)

    assert list(aborted.by_claim) == ["C10"]
    assert aborted.status("C10") == "broken"
    assert aborted.message("C10").startswith("no cluster: PreflightError: the machine lacks conntrack")
    assert aborted.labels("C10")["k8s"] == "1.36"
    assert aborted.by_claim["C10"]["historyId"]
    (run_level,) = aborted.directory.glob("*-globals.json")
    assert "the machine lacks conntrack" in run_level.read_text()


def test_the_files_of_a_run(results: ResultFiles) -> None:
    executor = json.loads((results.directory / "executor.json").read_text())

    assert executor["type"] in {"local", "github"}
    assert len(json.loads((results.directory / "categories.json").read_text())) == 3
