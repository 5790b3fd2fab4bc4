"""What allure-pytest and the suite's own plugins leave in the results of a small suite of claims."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import ROOT
from tests.integration.plugin.test_plugin import PLUGINS

if TYPE_CHECKING:
    from pathlib import Path

INI = "[pytest]\nmarkers =\n claim: x\n dataplane: x\n api: x\n kube_proxy: x\nstrict = true\n"
SUITE = '''
import pytest
from affinity import observed
from session_affinity.errors import ClusterError, NotReadyError, PreflightError
from session_affinity.traffic.answers import Answer, Answers, Target
from session_affinity.verdicts.verdict import Finding, Verdict
from fixtures.claims import claim
from fixtures.evidence import RECORD, Evidence

@pytest.fixture(scope="session")
def run_facts():
    """There is no cluster here."""

@pytest.fixture
def evidence(request):
    return Evidence(request.node.user_properties, None, request.node.stash[RECORD])

@pytest.fixture
def unschedulable():
    raise NotReadyError("pod webpod4: cannot be scheduled: 0/4 nodes are available", next_step="look")

@pytest.fixture
def broken_at_the_end():
    yield
    raise ClusterError("DELETE /api/v1: no answer from the API: refused")

def judge(ok):
    findings = () if ok else (Finding("myk8s-worker2", "10800", "--seconds 3600"),)
    return Verdict("rule 2: --seconds 3600, expected 10800" if not ok else "as computed", findings)

@claim("C10")
def test_holds(evidence):
    """A client's requests all reach one endpoint.

    Preconditions: a Service.
    Steps: requests.
    Expected: one endpoint.
    """
    target = Target("10.200.1.5", 9000)
    answers = Answers(tuple(Answer(target, "webpod2", 200, 40000 + n, 1, 0.001) for n in range(20)))
    observed.tell(observed.Asked("net-pod", "10.10.0.6", "myk8s-worker", answers))
    evidence.verdict(judge(True))

@claim("C16")
def test_does_not_hold(evidence):
    """Each rcheck rule."""
    verdict = judge(False)
    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()

@claim("C21")
def test_api_server_stops(evidence):
    raise ClusterError("GET /api/v1/pods: no answer from the API: refused", next_step="see whether it runs")

@claim("C13")
def test_pod_without_a_place(unschedulable):
    pass

@claim("C09")
def test_ends_badly(broken_at_the_end):
    pass

@claim("C05")
def test_another_mode():
    pytest.skip("kube-proxy runs in nftables mode: claims about iptables rules cannot be judged here")

@claim("C15")
def test_odd_evidence(evidence):
    observed.tell(observed.Asked("net-pod", "10.10.0.6", "myk8s-worker", answers=None))
    evidence.verdict(judge(True))

@claim("C24")
def test_bug():
    {}["no such key"]
'''
EXITING = '''
import pytest
from session_affinity.errors import PreflightError
from fixtures.claims import claim
from fixtures.cluster import told_once

@pytest.fixture(scope="session")
def cluster():
    with told_once("no cluster"):
        raise PreflightError("the machine lacks conntrack", next_step="apt-get install conntrack")

@pytest.fixture(scope="session")
def run_facts():
    """There is no cluster here."""

@claim("C10")
def test_first(cluster):
    pass

@claim("C16")
def test_second(cluster):
    pass
'''


@dataclass(frozen=True)
class ResultFiles:
    """What a run left, by claim."""

    directory: Path
    by_claim: dict[str, dict[str, Any]]

    def status(self, claim: str) -> str:
        return str(self.by_claim[claim]["status"])

    def message(self, claim: str) -> str:
        return str(self.by_claim[claim]["statusDetails"]["message"])

    def labels(self, claim: str) -> dict[str, str]:
        return {one["name"]: one["value"] for one in self.by_claim[claim]["labels"]}

    def steps(self, claim: str) -> list[str]:
        return [step["name"] for step in self.by_claim[claim].get("steps", [])]

    def attachments(self, claim: str) -> dict[str, str]:
        found = [one for step in self.by_claim[claim].get("steps", []) for one in step.get("attachments", [])]
        return {f"{one['name']} {one['type']}": (self.directory / one["source"]).read_text() for one in found}


def run(directory: Path, suite: str, *args: str) -> ResultFiles:
    """Run a suite in a process of its own, since what allure-pytest keeps is global."""
    (directory / "pytest.ini").write_text(INI)
    (directory / "test_suite.py").write_text(suite)
    written = directory / "results"
    subprocess.run(
        (
            sys.executable, "-m", "pytest", *PLUGINS, "-c", "pytest.ini", "-p", "no:cacheprovider",
            "--cluster=embedded", "--kubernetes=1.36", f"--alluredir={written}", "test_suite.py", *args,
        ),
        cwd=directory,
        env={**os.environ, "PYTEST_ADDOPTS": "", "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        timeout=60,
    )  # fmt: skip
    documents = [json.loads(file.read_text()) for file in sorted(written.glob("*-result.json"))]
    claims = [next(one["value"] for one in document["labels"] if one["name"] == "claim") for document in documents]
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
        pytest.param("C13", "broken", id="pod without a place"),
        pytest.param("C09", "broken", id="could not be tidied up"),
        pytest.param("C05", "skipped", id="another mode"),
        pytest.param("C24", "broken", id="mistake in the suite"),
    ],
)
def test_only_a_broken_promise_is_a_failure(results: ResultFiles, claim: str, status: str) -> None:
    assert results.status(claim) == status


@pytest.mark.parametrize(
    ("claim", "begins"),
    [
        pytest.param("C16", "C16 does not hold on myk8s-worker2: rule 2: --seconds 3600, expected 10800", id="failed"),
        pytest.param("C21", "ClusterError: GET /api/v1/pods: no answer from the API", id="API server stopped"),
        pytest.param("C13", "NotReadyError: pod webpod4: cannot be scheduled", id="pod without a place"),
        pytest.param("C09", "ClusterError: DELETE /api/v1: no answer", id="could not be tidied up"),
        pytest.param("C05", "kube-proxy runs in nftables mode: claims about iptables rules cannot", id="skipped"),
        pytest.param("C24", "KeyError: 'no such key'", id="mistake in the suite"),
    ],
)
def test_a_message_begins_with_the_cause(results: ResultFiles, claim: str, begins: str) -> None:
    assert results.message(claim).startswith(begins)


def test_code_is_shown_only_where_it_is_what_went_wrong(results: ResultFiles) -> None:
    trace = {claim: results.by_claim[claim]["statusDetails"].get("trace", "") for claim in ("C16", "C24", "C05")}

    assert re.fullmatch(r"test_suite\.py:\d+: test_does_not_hold", trace["C16"])
    assert '{}["no such key"]' in trace["C24"]
    assert trace["C05"] == ""


def test_a_claim_is_told_with_what_it_is_about_and_where_it_is_promised(results: ResultFiles) -> None:
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


def test_every_result_says_which_leg_it_is_of(results: ResultFiles) -> None:
    """What was asked for, as there is no cluster; without it the results of merged legs would hide each other."""
    for claim, document in results.by_claim.items():
        labels = results.labels(claim)
        parameters = {one["name"]: one["value"] for one in document["parameters"] if not one.get("excluded")}
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


def test_what_was_seen_is_there_without_the_test_asking_for_it(results: ResultFiles) -> None:
    assert results.steps("C10") == [
        "Observe: net-pod (10.10.0.6) on myk8s-worker asks, 20 requests: webpod2 20",
        "Judge: holds: as computed",
    ]
    found = results.attachments("C10")
    assert found["answers text/csv"].count("webpod2") == 20
    assert found["answers image/svg+xml"].startswith("<svg ")


def test_a_failure_has_its_verdict(results: ResultFiles) -> None:
    assert results.steps("C16")[0].startswith("Judge: C16 does not hold on myk8s-worker2")
    assert "seen: --seconds 3600" in results.attachments("C16")["verdict text/plain"]


def test_a_verdict_stands_also_where_its_evidence_cannot_be_written(results: ResultFiles) -> None:
    assert results.status("C15") == "passed"
    assert results.steps("C15")[0].startswith(
        "the evidence could not be written, a mistake in the suite: AttributeError"
    )
    assert "Traceback" in results.attachments("C15")["trace text/plain"]


def test_evidence_can_be_left_out(tmp_path: Path) -> None:
    without = run(tmp_path, SUITE, "--evidence=none", "-m", "C10 or C16")

    assert without.steps("C10") == without.steps("C16") == []
    assert without.message("C16").startswith("C16 does not hold on myk8s-worker2")
    assert not list(without.directory.glob("*-attachment.*"))


def test_a_run_without_a_cluster_is_broken_and_says_why(tmp_path: Path) -> None:
    """A leg of a matrix that never started must not vanish from the merged report."""
    ended = run(tmp_path, EXITING)

    assert list(ended.by_claim) == ["C10"]
    assert ended.status("C10") == "broken"
    assert ended.message("C10").startswith("no cluster: PreflightError: the machine lacks conntrack")
    assert ended.labels("C10")["k8s"] == "1.36"
    assert ended.by_claim["C10"]["historyId"]
    (run_level,) = ended.directory.glob("*-globals.json")
    assert "the machine lacks conntrack" in run_level.read_text()


def test_files_of_the_run(results: ResultFiles) -> None:
    executor = json.loads((results.directory / "executor.json").read_text())

    assert executor["type"] in {"local", "github"}
    assert len(json.loads((results.directory / "categories.json").read_text())) == 3
