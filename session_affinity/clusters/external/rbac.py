"""The rights that a run on an external cluster needs, as objects of the RBAC API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from session_affinity.clusters.external.pod_settings import pull_secrets_of
from session_affinity.clusters.recognition import CUSTOM
from session_affinity.dataplane.recognition import CONFIG_MAPS, DAEMON_SETS
from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from session_affinity.clusters.options import ClusterOptions

NAME: Final = "session-affinity-conformance"
"""The name of the roles, bindings and of the ServiceAccount by default."""
_LABELS: Final = {"app.kubernetes.io/name": NAME}
_RBAC: Final = "rbac.authorization.k8s.io"
CLUSTER: Final = ""
"""The scope of rules that hold in the whole cluster."""


@dataclass(frozen=True)
class AccessRule:
    """Verbs on resources of one API group, and what a run needs them for.

    ``scope`` is the namespace where they are needed, empty for the whole cluster. Without an ``optional`` one a run
    judges less, or says less about the cause of a failure. ``names`` limits the rule to objects of these names.
    """

    why: str
    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    scope: str = CLUSTER
    optional: bool = False
    names: tuple[str, ...] = ()

    def manifest(self) -> dict[str, Any]:
        """Return the rule as a role has it."""
        names = {"resourceNames": list(self.names)} if self.names else {}
        return {"apiGroups": [self.group], "resources": list(self.resources), **names, "verbs": list(self.verbs)}


@dataclass(frozen=True)
class Subject:
    """The subject of the bindings; ``kind`` is ServiceAccount, User or Group."""

    kind: str
    name: str
    namespace: str = ""

    def manifest(self) -> dict[str, str]:
        """Return the subject as a binding has it."""
        if self.kind == "ServiceAccount":
            return {"kind": self.kind, "name": self.name, "namespace": self.namespace}
        return {"kind": self.kind, "name": self.name, "apiGroup": _RBAC}


@dataclass(frozen=True)
class ConfigMapName:
    """The ConfigMap that gets the result of a run."""

    namespace: str
    name: str

    @classmethod
    def of(cls, text: str, namespace: str) -> ConfigMapName:
        """Read ``[NAMESPACE/]NAME``; ``namespace`` is that of a name without one. Raises UsageError without either."""
        given, _, name = text.rpartition("/")
        if not (given or namespace) or not name:
            raise UsageError(
                f"--config-map {text} does not say in which namespace it is", next_step=f"write NAMESPACE/{text}"
            )
        return cls(given or namespace, name)


def rules(
    options: ClusterOptions, *, minimal: bool = False, config_map: ConfigMapName | None = None
) -> tuple[AccessRule, ...]:
    """Return the rights that a run with these options needs; with ``minimal`` without the optional ones.

    ``config_map`` is the ConfigMap that gets the result.
    """
    result = [_of_result(config_map)] if config_map else []
    return tuple(rule for rule in (*_rules(options), *result) if not (minimal and rule.optional))


def manifests(rules: Sequence[AccessRule], subject: Subject | None, name: str = NAME) -> Iterator[dict[str, Any]]:
    """Yield the objects with these rights: a ServiceAccount if that is the subject, then roles with their bindings.

    ``name`` is that of roles and bindings.
    """
    if subject is not None and subject.kind == "ServiceAccount":
        yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(subject.name, subject.namespace)}
    for scope in dict.fromkeys(rule.scope for rule in rules):
        kind = "Role" if scope else "ClusterRole"
        role_rules = [rule.manifest() for rule in rules if rule.scope == scope]
        yield {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": _metadata(name, scope), "rules": role_rules}
        if subject is not None:
            yield {
                "apiVersion": f"{_RBAC}/v1",
                "kind": f"{kind}Binding",
                "metadata": _metadata(name, scope),
                "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": name},
                "subjects": [subject.manifest()],
            }


def text(rules: Sequence[AccessRule], subject: Subject | None, name: str = NAME) -> str:
    """Return the objects as YAML for ``kubectl apply -f``, each rule under a comment that says what it is for."""
    documents = [_commented(manifest, rules) for manifest in manifests(rules, subject, name)]
    return "---\n".join(documents)


def _commented(manifest: dict[str, Any], rules: Sequence[AccessRule]) -> str:
    scope = manifest["metadata"].get("namespace", CLUSTER)
    head = {name: value for name, value in manifest.items() if name != "rules"}
    lines = [yaml.safe_dump(head, sort_keys=False)]
    if "rules" in manifest:
        lines.append("rules:\n")
        for rule in (rule for rule in rules if rule.scope == scope):
            note = "Optional: " if rule.optional else ""
            lines.append(f"  # {note}{rule.why}\n")
            lines.append(_indented(yaml.safe_dump([rule.manifest()], sort_keys=False, default_flow_style=None)))
    return "".join(lines)


def _indented(block: str) -> str:
    return "".join(f"  {line}\n" for line in block.splitlines())


def _metadata(name: str, namespace: str) -> dict[str, Any]:
    return {"name": name, **({"namespace": namespace} if namespace else {}), "labels": dict(_LABELS)}


def _rules(options: ClusterOptions) -> Iterator[AccessRule]:
    work = options.namespace or CLUSTER
    agents = options.agent_namespace or work
    has_agents = options.node_access == "agent"
    yield from _of_namespaces(options.namespace)
    yield AccessRule(
        "where pods may run, and facts about the nodes",
        "",
        ("nodes",),
        ("list",),
        optional=not has_agents,
    )
    yield AccessRule(
        "the mode of kube-proxy, where kubeadm or kind set it up, and those of programs that may replace it",
        "",
        ("configmaps",),
        ("get",),
        scope="kube-system",
        optional=True,
        names=("kube-proxy", *CONFIG_MAPS),
    )
    yield AccessRule(
        "the name of the program that serves Services",
        "apps",
        ("daemonsets",),
        ("get",),
        optional=True,
        names=tuple(dict.fromkeys(name for _, name in DAEMON_SETS)),
    )
    for plural, resource in CUSTOM.items():
        yield AccessRule(
            "the mode of Calico, where there is one",
            resource.group_version.partition("/")[0],
            (plural,),
            ("get",),
            optional=True,
            names=("default",),
        )
    yield AccessRule(
        "how many Service addresses are free, so that generated Services leave half of them to others",
        "networking.k8s.io",
        ("servicecidrs", "ipaddresses"),
        ("list",),
        optional=True,
    )
    yield from _of_pods(work)
    if has_agents:
        yield from _of_agents(agents, with_pods=agents != work)
        yield from _of_coordinator(agents, with_pods=agents != work)
    yield from _of_pull_secrets(options, dict.fromkeys((work, *([agents] if has_agents else []))))


def _of_result(config_map: ConfigMapName) -> AccessRule:
    return AccessRule(
        "the result of the run", "", ("configmaps",), ("patch",), scope=config_map.namespace, names=(config_map.name,)
    )


def _of_namespaces(existing: str | None) -> Iterator[AccessRule]:
    if existing is None:
        yield AccessRule(
            "the namespace of a run, and those that killed runs left",
            "",
            ("namespaces",),
            ("create", "delete", "get", "list"),
        )
        yield AccessRule(
            "whether the namespace admits pods yet",
            "",
            ("serviceaccounts",),
            ("get",),
            optional=True,
            names=("default",),
        )
    else:
        yield AccessRule(
            "which pods the namespace admits",
            "",
            ("namespaces",),
            ("get",),
            scope=existing,
            optional=True,
            names=(existing,),
        )


def _of_pods(scope: str) -> Iterator[AccessRule]:
    yield AccessRule(
        "endpoints and clients",
        "",
        ("pods",),
        ("create", "delete", "deletecollection", "list", "patch"),
        scope=scope,
    )
    yield AccessRule("requests of the clients", "", ("pods/exec",), ("create", "get"), scope=scope)
    yield AccessRule("endpoints that become ready and unready", "", ("pods/status",), ("patch",), scope=scope)
    yield AccessRule(
        "the Services under test",
        "",
        ("services",),
        ("create", "delete", "deletecollection", "get", "list", "patch"),
        scope=scope,
    )
    yield AccessRule("their endpoints", "discovery.k8s.io", ("endpointslices",), ("list",), scope=scope)
    yield AccessRule(
        "claims about a load balancer's address, which the suite sets itself",
        "",
        ("services/status",),
        ("patch",),
        scope=scope,
        optional=True,
    )
    yield AccessRule(
        "claims about Services whose endpoints the suite sets itself: of every shape, edited at random, behind SNAT",
        "discovery.k8s.io",
        ("endpointslices",),
        ("create", "delete", "deletecollection", "patch"),
        scope=scope,
        optional=True,
    )
    yield AccessRule(
        "how many Services quotas of the namespace leave to others",
        "",
        ("resourcequotas",),
        ("list",),
        scope,
        optional=True,
    )
    yield AccessRule("why a pod does not start", "", ("events",), ("list",), scope=scope, optional=True)
    yield AccessRule(
        "which policies may block requests",
        "networking.k8s.io",
        ("networkpolicies",),
        ("list",),
        scope=scope,
        optional=True,
    )


def _of_agents(scope: str, *, with_pods: bool) -> Iterator[AccessRule]:
    yield AccessRule(
        "the agents on the nodes",
        "apps",
        ("daemonsets",),
        ("create", "delete", "list", "patch"),
        scope=scope,
    )
    yield AccessRule(
        "the ServiceAccount of the agents, which has no rights",
        "",
        ("serviceaccounts",),
        ("create", "delete", "list", "patch"),
        scope=scope,
    )
    if with_pods:
        yield AccessRule("whether the agents are Ready", "", ("pods",), ("list",), scope=scope)
        yield AccessRule("reads through the agents", "", ("pods/exec",), ("create", "get"), scope=scope)
        yield AccessRule("why an agent does not start", "", ("events",), ("list",), scope=scope, optional=True)
        yield AccessRule(
            "which policies the namespace has",
            "networking.k8s.io",
            ("networkpolicies",),
            ("list",),
            scope,
            optional=True,
        )


def _of_coordinator(scope: str, *, with_pods: bool) -> Iterator[AccessRule]:
    yield AccessRule(
        "the secret by which agents of the suite's own image and their coordinator know each other",
        "",
        ("secrets",),
        ("create",),
        scope=scope,
        optional=True,
    )
    if with_pods:
        yield AccessRule("the coordinator", "", ("pods",), ("create", "delete", "patch"), scope=scope, optional=True)


def _of_pull_secrets(options: ClusterOptions, scopes: dict[str, None]) -> Iterator[AccessRule]:
    copied = [secret for secret in pull_secrets_of(options) if secret.namespace]
    for secret in copied:
        yield AccessRule(
            "the pull secret that is copied", "", ("secrets",), ("get",), scope=secret.namespace, names=(secret.name,)
        )
    if copied:
        for scope in scopes:
            verbs = ("create", "patch") if scope == CLUSTER else ("create", "delete", "list", "patch")
            yield AccessRule("the copy of the pull secret", "", ("secrets",), verbs, scope=scope)
