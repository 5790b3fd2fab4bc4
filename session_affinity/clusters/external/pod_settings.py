"""What every pod of a run has on an external cluster: tolerations, pull secrets, and no injected sidecars."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_affinity.clusters.external.scheduling import (
    ALL_NODES,
    NodeSelection,
    Toleration,
    selection_of,
    tolerations_of,
)
from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.clusters.options import ClusterOptions

NO_SIDECAR_LABELS: Final = {
    "sidecar.istio.io/inject": "false",
    "istio.io/dataplane-mode": "none",
    "kuma.io/sidecar-injection": "disabled",
}
"""Labels that keep meshes out: Istio (also its ambient mode, which adds no container but takes the traffic), Kuma."""
NO_SIDECAR_ANNOTATIONS: Final = {
    "sidecar.istio.io/inject": "false",
    "linkerd.io/inject": "disabled",
    "kuma.io/sidecar-injection": "disabled",
    "consul.hashicorp.com/connect-inject": "false",
    "openservicemesh.io/sidecar-injection": "disabled",
    "vault.hashicorp.com/agent-inject": "false",
}
"""Annotations that opt a pod out of Istio, Linkerd, Kuma, Consul, Open Service Mesh and the Vault agent."""


@dataclass(frozen=True)
class PodSettings:
    """What every pod of a run has on an external cluster. ``pull_secrets`` are Secrets of the pod's namespace."""

    tolerations: tuple[Toleration, ...] = ()
    selection: NodeSelection = ALL_NODES
    pull_secrets: tuple[str, ...] = ()

    def applied_to(self, pod: Mapping[str, Any]) -> dict[str, Any]:
        """Return a pod, or the template of one, with these settings; its own tolerations stay."""
        changed: dict[str, Any] = copy.deepcopy(dict(pod))
        metadata, spec = changed["metadata"], changed["spec"]
        metadata["labels"] = {**(metadata.get("labels") or {}), **NO_SIDECAR_LABELS}
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **NO_SIDECAR_ANNOTATIONS}
        if tolerations := [*(spec.get("tolerations") or ()), *(each.manifest() for each in self.tolerations)]:
            spec["tolerations"] = tolerations
        if self.pull_secrets:
            spec["imagePullSecrets"] = [{"name": name} for name in self.pull_secrets]
        return changed


NO_SETTINGS: Final = PodSettings()
"""Pods tolerate nothing and may run anywhere; they still opt out of sidecars."""


@dataclass(frozen=True)
class PullSecret:
    """A Secret with registry credentials; ``namespace`` is empty where it is in the namespace of the run already."""

    name: str
    namespace: str = ""


def pull_secrets_of(options: ClusterOptions) -> tuple[PullSecret, ...]:
    """Return the pull secrets of the command line; raises UsageError."""
    secrets = []
    for text in options.pull_secrets:
        namespace, _, name = text.rpartition("/")
        if not namespace and options.namespace is None:
            raise UsageError(
                f"--pull-secret {text} does not say in which namespace the Secret is",
                next_step=f"write NAMESPACE/{text}: it is copied into the namespace that the run makes",
            )
        secrets.append(PullSecret(name, "" if namespace == options.namespace else namespace))
    return tuple(secrets)


def settings_of(options: ClusterOptions) -> PodSettings:
    """Return what every pod of a run with these options has; raises UsageError."""
    secrets = tuple(secret.name for secret in pull_secrets_of(options))
    return PodSettings(tolerations_of(options), selection_of(options), secrets)
