"""The suite as a Job of the cluster that it judges: the same verdicts as from outside, and nothing left behind."""

from __future__ import annotations

import re
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from session_affinity.cli.run_outputs import REPORT_MARK
from session_affinity.conformance import report
from session_affinity.waiting import poll
from tests.defects.defect import Place
from tests.integration.in_cluster.conftest import WRONG_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.in_cluster.conftest import InCluster

pytestmark = pytest.mark.long

NAME = "session-affinity-conformance"
OPTIONS = ("--node-access=agent", "--image-tags")
CLAIMS = ("C03", "C10", "C14", "C16", "C21", "C52")
SUBJECTS = (NAME, "system:serviceaccounts", f"system:serviceaccounts:{NAME}", "system:authenticated")
"""The account of the Job, and the groups that it is in."""


@dataclass(frozen=True)
class Ended:
    """A Job that has ended, as its pod, its log and its ConfigMap tell it."""

    exit_code: int
    message: str
    log: str
    data: dict[str, str]

    @property
    def report(self) -> dict[str, Any]:
        return dict(yaml.safe_load(self.data["report.yaml"]))

    @property
    def results(self) -> dict[str, str]:
        return results(self.report)


def results(document: dict[str, Any]) -> dict[str, str]:
    return {claim["id"]: claim["result"] for claim in document["claims"]}


def run_job(cluster: InCluster, *arguments: str) -> Ended:
    """Apply the printed Job, wait for its end and read what it left."""
    cluster.kubectl("apply", "-f", "-", stdin=cluster.run("job", *OPTIONS, cluster.scale, *arguments))
    seen: list[dict[str, Any]] = []

    def has_ended() -> bool:
        pods = cluster.objects("pods", "-n", NAME, "-l", f"job-name={NAME}")
        statuses = [status for pod in pods for status in pod["status"].get("containerStatuses", ())]
        seen[:] = [status["state"]["terminated"] for status in statuses if "terminated" in status["state"]]
        return bool(seen)

    assert poll(has_ended, 300 * cluster.defective.deadline_scale, pause=0.5), cluster.traces()
    (terminated,) = seen
    config_map = yaml.safe_load(cluster.kubectl("get", "configmap", "-n", NAME, NAME, "-o", "yaml"))
    log = cluster.kubectl("logs", "-n", NAME, f"job/{NAME}")
    return Ended(terminated["exitCode"], terminated.get("message", ""), log, config_map.get("data") or {})


@pytest.fixture
def clean(in_cluster: InCluster) -> Iterator[InCluster]:
    """The cluster; a Job that the test made is removed after it, with all that was applied."""
    yield in_cluster
    in_cluster.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=in_cluster.run("job", *OPTIONS))


def test_a_job_judges_as_a_run_from_outside(clean: InCluster, tmp_path: Path) -> None:
    outside = tmp_path / "report.yaml"
    clean.run("check", f"--kubeconfig={clean.kubeconfig}", *OPTIONS, clean.scale, f"--report={outside}", *CLAIMS)

    ended = run_job(clean, *CLAIMS)

    assert ended.exit_code == 0, ended.log
    assert ended.results == results(report.read(outside))
    assert {ended.results[claim] for claim in CLAIMS} == {"passed"}
    assert ended.message.startswith("holds: 6 passed, "), ended.message
    assert ended.message.strip() == ended.data["verdict"].strip()
    assert ended.data["exit-code"] == "0"
    assert 'session_affinity_claim{claim="C16",subject="rules",result="passed"} 1' in ended.data["metrics.prom"]
    _, logged, _ = ended.log.split(f"{REPORT_MARK}\n")
    assert yaml.safe_load(logged) == ended.report
    assert ended.report["access"] == {"nodes": "agent", "onlyBehaviour": False, "location": "in-cluster"}
    assert re.search(r"@sha256:[0-9a-f]{64}$", ended.report["suite"]["image"])
    assert report.problems(ended.report) == ()


def test_a_violation_is_the_exit_code_and_names_claim_and_node(clean: InCluster) -> None:
    with WRONG_TIMEOUT(clean.defective):
        ended = run_job(clean, "C10", "C16")

    assert ended.exit_code == 1, ended.log
    assert ended.message.startswith("violated: 1 passed, 1 failed, "), ended.message
    assert "; failed: C16; " in ended.message
    (claim,) = (each for each in ended.report["claims"] if each["id"] == "C16")
    assert clean.defective.node(Place.SICK) in claim["message"]


def test_a_run_that_cannot_read_the_nodes_is_undetermined_and_the_job_goes_after_its_ttl(clean: InCluster) -> None:
    ended = run_job(clean, "--agent-image=registry.invalid/agent:1", "--ttl=5", "C16")

    assert ended.exit_code == 10, ended.log
    assert ended.message.startswith("undetermined: 1 undetermined, "), ended.message
    assert "registry.invalid/agent:1 cannot be pulled" in ended.log
    assert poll(lambda: not clean.objects("jobs", "-n", NAME), 60, pause=0.5)
    assert clean.kubectl("get", "configmap", "-n", NAME, NAME, "-o", "jsonpath={.data.exit-code}") == "10"
    clean.run("cleanup", f"--kubeconfig={clean.kubeconfig}", "--all", f"--namespace={NAME}")
    assert f"namespace/{NAME}" not in clean.traces()


def test_the_service_account_has_the_printed_rights_and_no_others(clean: InCluster) -> None:
    clean.kubectl("apply", "-f", "-", stdin=clean.run("job", *OPTIONS, "--schedule=0 0 1 1 *"))
    account = f"--service-account={NAME}/{NAME}"
    printed = clean.run("rbac", *OPTIONS[:1], f"--namespace={NAME}", f"--config-map={NAME}", account)
    bindings = [
        binding
        for kind in ("rolebindings", "clusterrolebindings")
        for binding in clean.objects(kind, "-A")
        # What Kubernetes itself gives to every ServiceAccount of every cluster has this label.
        if (binding["metadata"].get("labels") or {}).get("kubernetes.io/bootstrapping") != "rbac-defaults"
        and any(subject.get("name") in SUBJECTS for subject in binding.get("subjects", ()))
    ]

    granted = []
    for binding in bindings:
        where = ("-n", binding["metadata"]["namespace"]) if "namespace" in binding["metadata"] else ()
        role = yaml.safe_load(
            clean.kubectl("get", binding["roleRef"]["kind"], binding["roleRef"]["name"], *where, "-o", "yaml")
        )
        granted.append((binding["metadata"].get("namespace", ""), role["rules"]))

    expected = [
        (each["metadata"].get("namespace", ""), each["rules"])
        for each in yaml.safe_load_all(printed)
        if each["kind"] in ("Role", "ClusterRole")
    ]
    assert sorted(granted, key=str) == sorted(expected, key=str)


def arguments_of_check(cluster: InCluster, *more: str) -> tuple[str, ...]:
    return ("check", "--in-cluster", f"--kubeconfig={cluster.kubeconfig}", *OPTIONS, cluster.scale, *more)


def test_a_run_started_from_here_shows_its_output_brings_its_files_back_and_leaves_nothing(
    in_cluster: InCluster, tmp_path: Path
) -> None:
    before = in_cluster.traces()
    files = (f"--report={tmp_path}/report.yaml", f"--junitxml={tmp_path}/junit.xml", f"--alluredir={tmp_path}/allure")

    with WRONG_TIMEOUT(in_cluster.defective):
        output = in_cluster.run(*arguments_of_check(in_cluster, *files, "C10", "C16"), code=1)

    assert re.search(r"^passed  C10 .*\n(.*\n)*failed  C16 ", output, re.MULTILINE), output
    assert output.splitlines()[-1].startswith("in the cluster: violated: 1 passed, 1 failed, ")
    found = report.read(tmp_path / "report.yaml")
    assert (results(found)["C10"], results(found)["C16"]) == ("passed", "failed")
    assert found["access"]["location"] == "in-cluster"
    assert "<failure" in (tmp_path / "junit.xml").read_text()
    assert list((tmp_path / "allure").glob("*-result.json"))
    assert in_cluster.traces() == before


@pytest.mark.parametrize("signal_name", ["SIGINT", "SIGKILL"])
def test_a_run_started_from_here_that_ends_early_leaves_nothing_for_long(
    in_cluster: InCluster, signal_name: str
) -> None:
    before = in_cluster.traces()
    process = in_cluster.start(*arguments_of_check(in_cluster, "C10", "C23"))
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("passed  C10"):
            process.send_signal(signal.Signals[signal_name])
            break
    said += process.communicate(timeout=120)

    if signal_name == "SIGKILL":
        left = in_cluster.traces()
        assert len(re.findall(r"namespace/session-affinity-\S+", left)) == 1, said
        in_cluster.run("cleanup", f"--kubeconfig={in_cluster.kubeconfig}")
    assert poll(lambda: in_cluster.traces() == before, 60, pause=0.5), (said, in_cluster.traces())


def test_an_image_that_is_nowhere_is_named_within_seconds(in_cluster: InCluster) -> None:
    before = in_cluster.traces()
    began = time.monotonic()

    output = in_cluster.run(*arguments_of_check(in_cluster, "--image=registry.invalid/suite:1", "C10"), code=1)

    assert "image registry.invalid/suite:1 cannot be pulled" in output
    assert "--image IMAGE" in output
    assert time.monotonic() - began < 60 * in_cluster.defective.deadline_scale
    assert in_cluster.traces() == before
