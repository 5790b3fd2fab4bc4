"""A real dataplane that differs from kube-proxy, brought by the user: every status in every output, and exit codes.

The example of docs/bring-your-own-dataplane.md runs in place of kube-proxy and of the pod network.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

import pytest
import yaml

from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.state import STATE_VARIABLE
from tests.integration.conftest import ROOT
from tests.integration.test_statuses import results_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.long

NAME: Final = "differing"
PROGRAM: Final = ROOT / "tests" / "dataplane" / "node-program"
VIOLATED: Final = {"C24d": "timeouts are rounded up to five seconds"}
"""The claims of the API that the example violates."""
DIFFERENT: Final = {
    "C24c": "traffic on an open connection renews the timeout",
    "C32d": "a node without endpoints refuses",
    "C34": "terminating endpoints are not used",
    "C34b": "terminating endpoints are not used",
    "C44b": "datagrams of an open flow renew the timeout",
    "C46d": "a node without endpoints refuses",
}
"""The claims that only kube-proxy promises, and that the example violates."""
SLOW: Final = "2"
"""The scale of deadlines: other tests may be running."""
IN_JUNIT: Final = {
    "passed": None, "failed": "failure", "undetermined": "error", "skipped": "skipped", "differs": "skipped",
}  # fmt: skip
IN_ALLURE: Final = {
    "passed": "passed", "failed": "failed", "undetermined": "broken", "skipped": "skipped", "differs": "skipped",
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What a run left: its exit code, what it printed, and the statuses of claims in each kind of output."""

    code: int
    output: str
    report: Mapping[str, str]
    junit: Mapping[str, str | None]
    allure: Mapping[str, str]

    @property
    def printed(self) -> dict[str, str]:
        """The statuses that the run printed as it went."""
        words = {"error": "undetermined"}
        lines = re.finditer(r"^(passed|failed|error|skipped|differs) +(C\w+)  ", self.output, re.MULTILINE)
        return {line[2]: words.get(line[1], line[1]) for line in lines}

    def of(self, status: str) -> set[str]:
        """Return the claims that have a status in the report."""
        return {claim for claim, result in self.report.items() if result == status}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory of this module's own, in which its cluster has its state."""
    directory = tmp_path_factory.mktemp("differing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(directory / "state"))
        yield directory
        clusters.down(NAME)


def run(state: Path, claims: str, *options: str) -> Run:
    """Judge claims on the cluster, which the first run starts and all keep; leave out claims that are not selected."""
    report, junit, allure = state / "report.yaml", state / "junit.xml", state / "allure"
    argv = (
        sys.executable, "-m", "pytest", "-c", ROOT / "pytest.toml", "-m", claims, "--cluster", "embedded",
        "--cluster-name", NAME, "--keep-cluster", "--no-kube-proxy", "--no-cni", f"--node-program={PROGRAM}",
        f"--report={report}", f"--junitxml={junit}", f"--alluredir={allure}", "--clean-alluredir", *options,
    )  # fmt: skip
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    claimed = yaml.safe_load(report.read_text())["claims"]
    return Run(
        done.returncode,
        done.stdout + done.stderr,
        {each["id"]: each["result"] for each in claimed if each.get("reason") != "deselected"},
        _junit(junit),
        {claim: status for claim, (status, _) in results_in(allure).items()},
    )


def _junit(file: Path) -> dict[str, str | None]:
    """Return the element that each claim's case has; None where it has none. A claim may have two cases."""
    cases: dict[str, str | None] = {}
    for case in ET.parse(file).iter("testcase"):
        claim = next(entry.get("value", "") for entry in case.iter("property") if entry.get("name") == "claim")
        outcome = next((element.tag for element in case if element.tag in ("failure", "error", "skipped")), None)
        cases[claim] = cases.get(claim) or outcome
    return cases


@pytest.fixture(scope="module")
def catalogue(state: Path) -> Run:
    """A run of the whole catalogue."""
    return run(state, "affinity", "--deadline-scale", SLOW)


@pytest.mark.timeout(900)
def test_claims_hold_are_violated_differ_and_are_skipped(catalogue: Run) -> None:
    """Nothing is undetermined, all that the API promises holds but for what the example does wrong."""
    assert catalogue.of("undetermined") == set(), catalogue.output
    assert catalogue.of("failed") == VIOLATED.keys(), catalogue.output
    assert catalogue.of("differs") >= DIFFERENT.keys(), catalogue.output
    assert len(catalogue.of("passed")) > 30
    assert catalogue.of("skipped") >= {"C16", "C21", "C52", "C60"}
    assert catalogue.code == 1


def test_all_outputs_agree(catalogue: Run) -> None:
    """Claim by claim: the lines of the run, the report, JUnit and Allure; and the summary names the violated one."""
    assert catalogue.printed == catalogue.report
    assert catalogue.junit == {claim: IN_JUNIT[status] for claim, status in catalogue.report.items()}
    judged = {claim: status for claim, status in catalogue.report.items() if claim in catalogue.allure}
    assert catalogue.allure == {claim: IN_ALLURE[status] for claim, status in judged.items()}
    assert {claim for claim in catalogue.report if claim not in catalogue.allure} <= catalogue.of("skipped")
    assert "C24d does not hold on the client: still bound at " in catalogue.output
    assert "the cluster was started with --no-kube-proxy" in catalogue.output


def test_known_differences_do_not_fail_the_run(state: Path, catalogue: Run) -> None:
    """With a file of known differences the same claim differs, and the exit code is 0."""
    assert catalogue.code == 1
    known = [{"claim": claim, "reason": reason} for claim, reason in VIOLATED.items()]
    file = state / "differences.yaml"
    file.write_text(json.dumps({"differences": known}))

    again = run(state, " or ".join(("C10", *VIOLATED)), f"--differences={file}", "--deadline-scale", SLOW)

    assert again.report == {"C10": "passed", **dict.fromkeys(VIOLATED, "differs")}, again.output
    assert again.printed == again.report
    assert {claim: again.junit[claim] for claim in again.report} == {"C10": None, **dict.fromkeys(VIOLATED, "skipped")}
    assert again.code == 0


def test_with_a_dataplane_that_hangs_claims_are_undetermined(state: Path, catalogue: Run) -> None:
    """The programs of all nodes are stopped: a new Service is never programmed, which says nothing about affinity."""
    assert catalogue.report["C50"] == "passed"
    cluster = clusters.find(NAME)
    assert cluster is not None
    for node in cluster.nodes.values():
        node.run(("pkill", "-STOP", "-o", "-f", "tests.dataplane")).check()
    try:
        hanging = run(state, "C02 or C10", "--deadline-scale", "0.5")
    finally:
        for node in cluster.nodes.values():
            node.run(("pkill", "-CONT", "-o", "-f", "tests.dataplane")).check()

    assert hanging.report == {"C02": "passed", "C10": "undetermined"}, hanging.output
    assert hanging.printed == hanging.report
    assert (hanging.junit["C10"], hanging.allure["C10"]) == ("error", "broken")
    assert hanging.code == 10


def test_a_restarted_program_keeps_its_clients(state: Path, catalogue: Run) -> None:
    """Killed on every node, it is started again at once, and what holds goes on holding."""
    assert catalogue.report["C10"] == "passed"
    cluster = clusters.find(NAME)
    assert cluster is not None
    for node in cluster.nodes.values():
        node.run(("pkill", "-KILL", "-f", "tests.dataplane")).check()

    again = run(state, "C10", "--deadline-scale", SLOW)

    assert again.report == {"C10": "passed"}, again.output
    assert all(cluster.state.read_node_processes(node)["node-program"]["restarts"] == 1 for node in cluster.nodes)
