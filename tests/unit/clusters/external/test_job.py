"""The Job has the rights that ``rbac`` prints for the same options, runs once, and is allowed nothing in its pod."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from session_affinity.cli.commands import job as job_command
from session_affinity.cli.commands import rbac as rbac_command
from session_affinity.clusters.external import job as jobs
from session_affinity.clusters.external import own_pod
from session_affinity.clusters.options import ClusterOptions

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

DIGEST = "sha256:" + "0" * 64


def printed(*arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(job_command.command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.output))


def of_kind(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = (each for each in objects if each["kind"] == kind)
    return found


def container(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = of_kind(objects, "Job")["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("options", [(), ("--node-access=agent",), ("--minimal",), ("--pull-secret=registry/key",)])
def test_the_rights_are_those_that_rbac_prints(options: tuple[str, ...]) -> None:
    account = ("--service-account=team/session-affinity-conformance", "--config-map=session-affinity-conformance")
    rbac = CliRunner().invoke(rbac_command.command, ("--namespace=team", *account, *options), catch_exceptions=False)

    job = printed("--namespace=team", *options)

    def rights(objects: list[dict[str, Any]]) -> list[tuple[str, str, Any]]:
        roles = [each for each in objects if each["kind"] in ("Role", "ClusterRole")]
        return [(role["kind"], role["metadata"].get("namespace", ""), role["rules"]) for role in roles]

    assert rights(job) == rights(list(yaml.safe_load_all(rbac.output)))
    subjects = [each["subjects"] for each in job if each["kind"].endswith("Binding")]
    account_of_the_pod = of_kind(job, "Job")["spec"]["template"]["spec"]["serviceAccountName"]
    assert [(subject["namespace"], subject["name"]) for (subject,) in subjects] == [("team", account_of_the_pod)] * len(
        subjects
    )


def test_a_run_without_agents_is_admitted_at_level_restricted() -> None:
    objects = printed()

    pod = of_kind(objects, "Job")["spec"]["template"]["spec"]
    assert of_kind(objects, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(objects)["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_it_runs_once_ends_in_time_and_goes() -> None:
    spec = of_kind(printed("--job-deadline=600", "--ttl=60"), "Job")["spec"]

    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (0, 600, 60)
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_options_and_selection_reach_the_run() -> None:
    objects = printed("--node-access=agent", "--nodes=a,b", "--deadline-scale=2", "C10", "rules", "--", "-x")

    arguments = container(objects)["args"]
    assert arguments[:3] == ["check", "--in-cluster-credentials", "--namespace=session-affinity-conformance"]
    assert {"--node-access=agent", "--nodes=a,b", "--deadline-scale=2.0"} <= set(arguments)
    assert "--claims-selection=C10 or rules" in arguments
    assert arguments[-2:] == ["--", "-x"]


def test_agents_have_the_image_of_the_suite_unless_another_is_named() -> None:
    def agent_image(*options: str) -> list[str]:
        return [word for word in container(printed(*options))["args"] if word.startswith("--agent-image")]

    assert agent_image("--image=here/suite:1") == []
    assert agent_image("--image=here/suite:1", "--node-access=agent") == ["--agent-image=here/suite:1"]
    assert agent_image("--node-access=agent", "--agent-image=here/other:1") == ["--agent-image=here/other:1"]


def test_the_config_map_that_the_run_may_only_patch_is_there_before_it() -> None:
    objects = printed()

    names = [each["metadata"]["name"] for each in objects]
    assert of_kind(objects, "ConfigMap")["metadata"]["name"] in names
    kinds = [each["kind"] for each in objects]
    assert kinds.index("ConfigMap") < kinds.index("Job")
    assert f"--config-map={of_kind(objects, 'ConfigMap')['metadata']['name']}" in container(objects)["args"]


def test_in_an_existing_namespace_none_is_made_and_roles_elsewhere_have_names_of_their_own() -> None:
    objects = printed("--namespace=team")

    assert not [each for each in objects if each["kind"] == "Namespace"]
    outside = [each for each in objects if each["metadata"].get("namespace") != "team"]
    assert {each["metadata"]["name"] for each in outside} == {"team-session-affinity-conformance"}


def test_the_container_that_keeps_the_files_ends_with_them_and_when_the_pod_is_ended(tmp_path: Path) -> None:
    settings = jobs.JobSettings(keeps_results=True)
    (collector,) = (
        each
        for each in jobs.workload(settings, ClusterOptions(namespace="team"))["spec"]["template"]["spec"]["containers"]
        if each["name"] == jobs.COLLECTOR
    )
    shell, option, script = collector["command"]
    fetched = tmp_path / "fetched"
    argv = (shell, option, script.replace(jobs.FETCHED, str(fetched)))

    ended = subprocess.Popen(argv)
    fetched.touch()
    assert ended.wait(timeout=10) == 0

    assert script.startswith("trap 'exit 0' TERM;")


def test_with_a_schedule_it_is_a_cron_job_of_one_run_at_a_time() -> None:
    spec = of_kind(printed("--schedule=17 3 * * *", "--results-volume=conformance"), "CronJob")["spec"]

    assert (spec["schedule"], spec["concurrencyPolicy"]) == ("17 3 * * *", "Forbid")
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert {"name": "results", "persistentVolumeClaim": {"claimName": "conformance"}} in pod["volumes"]
    assert "--metrics=/results/metrics.prom" in pod["containers"][0]["args"]


@pytest.mark.parametrize(
    ("image", "image_id", "named"),
    [
        ("ghcr.io/a/b:v1", f"ghcr.io/a/b@{DIGEST}", f"ghcr.io/a/b@{DIGEST}"),
        ("ghcr.io/a/b:v1", f"docker-pullable://ghcr.io/a/b@{DIGEST}", f"ghcr.io/a/b@{DIGEST}"),
        ("ghcr.io/a/b:v1", DIGEST, f"ghcr.io/a/b:v1@{DIGEST}"),
        ("ghcr.io/a/b:v1", "", ""),
    ],
)
def test_the_image_of_the_suite_is_named_with_the_digest_that_the_runtime_has(
    image: str, image_id: str, named: str
) -> None:
    assert own_pod.image_of({"image": image, "imageID": image_id}) == named
