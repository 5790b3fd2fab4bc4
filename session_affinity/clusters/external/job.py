"""The suite as a Job of the cluster that it judges: the objects of ``session-affinity job`` and ``check --in-cluster``.

The Job works in its own namespace: the sample pods, and the agents if any, are beside it, so that most of its rights
are in that namespace (see ``rbac``). A run ends with the exit code of ``check`` as the container's, the verdict as its
termination message, and the result in a ConfigMap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from session_affinity import about
from session_affinity.cluster_objects.labels import PART_OF, SUITE
from session_affinity.clusters.external import namespace, rbac
from session_affinity.clusters.external.own_pod import CONTAINER
from session_affinity.clusters.external.pod_settings import NO_SETTINGS, PodSettings
from session_affinity.clusters.external.rbac import ConfigMapName, Subject
from session_affinity.kube.in_cluster import POD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from session_affinity.clusters.external.rbac import AccessRule
    from session_affinity.clusters.options import ClusterOptions

NAME: Final = rbac.NAME
"""The name of the Job, its ServiceAccount and its ConfigMap; by default of its namespace too."""
USER: Final = 65532
LABELS: Final = {PART_OF: SUITE, "app": NAME}
RESULTS: Final = "/results"
"""Where the pod has the files of the run."""
TERMINATION_MESSAGE: Final = "/dev/termination-log"
DEADLINE_SECONDS: Final = 1800
TTL_SECONDS: Final = 24 * 3600
COLLECTOR: Final = "results"
"""The container that keeps the files of the run until they are fetched."""
FETCHED: Final = f"{RESULTS}/.fetched"
"""The file that ends the collector."""
_GRACE_SECONDS: Final = 90
"""The pod from SIGTERM until it is killed; a run removes what it created in that time."""


@dataclass(frozen=True)
class JobSettings:
    """What ``session-affinity job`` says beside the options of the run.

    ``arguments`` are those of ``check``. ``schedule`` makes it a CronJob, in the syntax of cron. ``volume_claim`` is an
    existing PersistentVolumeClaim for the files of the run. ``keeps_results`` adds a container that ends when the files
    have been fetched.
    """

    image: str = about.IMAGE
    name: str = NAME
    arguments: tuple[str, ...] = ()
    schedule: str = ""
    deadline_seconds: int = DEADLINE_SECONDS
    ttl_seconds: int = TTL_SECONDS
    volume_claim: str = ""
    minimal: bool = False
    keeps_results: bool = False
    settings: PodSettings = NO_SETTINGS


def rules(job: JobSettings, options: ClusterOptions) -> tuple[AccessRule, ...]:
    """Return the rights of the Job's ServiceAccount: those of a run with these options, and the result."""
    return rbac.rules(options, minimal=job.minimal, config_map=_config_map(job, options))


def objects(job: JobSettings, options: ClusterOptions) -> Iterator[dict[str, Any]]:
    """Yield what the Job needs in an existing namespace, that of the options, and the Job itself last."""
    yield from rbac.manifests(rules(job, options), _subject(job, options), _role_name(job, options))
    yield _empty_config_map(job, options)
    yield workload(job, options)


def text(job: JobSettings, options: ClusterOptions, *, with_namespace: bool) -> str:
    """Return all objects as YAML for ``kubectl apply -f``, the rights with comments that say what they are for."""
    made = [_namespace(options)] if with_namespace else []
    rights = rbac.text(rules(job, options), _subject(job, options), _role_name(job, options))
    return "---\n".join(
        (
            *map(_dumped, made),
            rights,
            _dumped(_empty_config_map(job, options)),
            _dumped(workload(job, options)),
        )
    )


def workload(job: JobSettings, options: ClusterOptions) -> dict[str, Any]:
    """Return the Job, or with a schedule the CronJob."""
    spec = {
        "backoffLimit": 0,
        "activeDeadlineSeconds": job.deadline_seconds,
        "ttlSecondsAfterFinished": job.ttl_seconds,
        "template": job.settings.applied_to(_template(job, options)),
    }
    metadata = {"name": job.name, "namespace": options.namespace, "labels": dict(LABELS)}
    if not job.schedule:
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata,
        "spec": {
            "schedule": job.schedule,
            "concurrencyPolicy": "Forbid",  # two runs cannot work in one namespace
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"metadata": {"labels": dict(LABELS)}, "spec": spec},
        },
    }


def _template(job: JobSettings, options: ClusterOptions) -> dict[str, Any]:
    results = {"persistentVolumeClaim": {"claimName": job.volume_claim}} if job.volume_claim else {"emptyDir": {}}
    mounts = [{"name": "results", "mountPath": RESULTS}, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - in the pod
    check = {
        "name": CONTAINER,
        "image": job.image,
        "imagePullPolicy": "IfNotPresent",
        "args": [
            "check",
            "--in-cluster-credentials",
            f"--namespace={options.namespace}",
            f"--config-map={job.name}",
            f"--verdict={TERMINATION_MESSAGE}",
            f"--metrics={RESULTS}/metrics.prom",
            f"--report={RESULTS}/report.yaml",
            "--print-report",
            *job.arguments,
        ],
        "env": [{"name": POD, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "terminationMessagePath": TERMINATION_MESSAGE,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **_container("100m", "192Mi"),
        "volumeMounts": mounts,
    }
    # The first process of a container gets no signal that it has no handler for.
    wait = f"trap 'exit 0' TERM; until [ -e {FETCHED} ]; do sleep 0.2; done"
    collector = {
        "name": COLLECTOR,
        "image": job.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", wait],
        **_container("1m", "8Mi"),
        "volumeMounts": [mounts[0]],
    }
    return {
        "metadata": {"labels": dict(LABELS)},
        "spec": {
            "serviceAccountName": job.name,
            "restartPolicy": "Never",
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": _GRACE_SECONDS,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [check, *([collector] if job.keeps_results else [])],
            "volumes": [{"name": "results", **results}, {"name": "tmp", "emptyDir": {}}],
        },
    }


def _container(cpu: str, memory: str) -> dict[str, Any]:
    return {
        "resources": {"requests": {"cpu": cpu, "memory": memory}},
        "securityContext": {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _namespace(options: ClusterOptions) -> dict[str, Any]:
    has_agents = options.node_access == "agent" and not options.agent_namespace
    level = namespace.PRIVILEGED if has_agents else namespace.RESTRICTED
    manifest = namespace.manifest(str(options.namespace), level)
    del manifest["metadata"]["annotations"]  # none
    return manifest


def _empty_config_map(job: JobSettings, options: ClusterOptions) -> dict[str, Any]:
    name = _config_map(job, options)
    metadata = {"name": name.name, "namespace": name.namespace, "labels": dict(LABELS)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def _config_map(job: JobSettings, options: ClusterOptions) -> ConfigMapName:
    return ConfigMapName(str(options.namespace), job.name)


def _subject(job: JobSettings, options: ClusterOptions) -> Subject:
    return Subject("ServiceAccount", job.name, str(options.namespace))


def _role_name(job: JobSettings, options: ClusterOptions) -> str:
    """Return the name of roles and bindings: in the cluster and in kube-system there may be those of other Jobs."""
    return job.name if options.namespace == job.name else f"{options.namespace}-{job.name}"


def _dumped(manifest: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(dict(manifest), sort_keys=False))
