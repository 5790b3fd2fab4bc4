"""Which nodes a run is about, and which taints its pods tolerate: --nodes, --node-selector and --toleration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from session_affinity.clusters.options import ClusterOptions

ALL: Final = "all"
"""The value of --toleration that tolerates every taint, and that of --nodes for all nodes."""
SAMPLE: Final = "sample:"
"""How a value of --nodes begins that takes a number of nodes."""
EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@dataclass(frozen=True)
class Toleration:
    """A toleration of taints. An empty ``key`` or ``effect`` matches any; ``value`` is None to match any value."""

    key: str = ""
    value: str | None = None
    effect: str = ""

    @classmethod
    def parse(cls, text: str) -> Toleration:
        """Return the toleration of ``KEY[=VALUE][:EFFECT]`` or ``all``; raises UsageError."""
        if text == ALL:
            return cls()
        taint, colon, effect = text.rpartition(":") if ":" in text else (text, "", "")
        key, equals, value = taint.partition("=")
        if not key or (colon and effect not in EFFECTS):
            raise UsageError(
                f"--toleration {text} is not understood",
                next_step=f"write KEY[=VALUE][:EFFECT] with an effect of {', '.join(EFFECTS)}, or {ALL}",
            )
        return cls(key, value if equals else None, effect)

    def matches(self, taint: Mapping[str, Any]) -> bool:
        """Whether a taint of a node is tolerated."""
        return (
            self.key in ("", taint["key"])
            and self.value in (None, taint.get("value", ""))
            and self.effect in ("", taint["effect"])
        )

    def manifest(self) -> dict[str, str]:
        """Return the toleration as a pod's specification has it."""
        value = {"operator": "Exists"} if self.value is None else {"operator": "Equal", "value": self.value}
        fields = {"key": self.key, **value, "effect": self.effect}
        return {name: text for name, text in fields.items() if text or name == "value"}


@dataclass(frozen=True)
class NodeSelection:
    """The nodes that a run is about: those with all ``labels``, and of these, unless ``names`` is empty, the named.

    With a ``sample`` that many of them, which are named once the nodes are known.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    sample: int = 0

    def includes(self, node: Mapping[str, Any]) -> bool:
        """Whether a node of the API is selected."""
        metadata = node["metadata"]
        labels = metadata.get("labels") or {}
        has_labels = all(labels.get(name) == value for name, value in self.labels.items())
        return has_labels and (not self.names or metadata["name"] in self.names)

    def fields(self) -> dict[str, Any]:
        """Return the fields of a pod's specification that keep it on the selected nodes."""
        fields: dict[str, Any] = {"nodeSelector": dict(self.labels)} if self.labels else {}
        return fields | ({"affinity": affinity_to(self.names)} if self.names else {})

    def __str__(self) -> str:
        labels = [f"{name}={value}" for name, value in self.labels.items()]
        return ", ".join((*labels, *self.names))


ALL_NODES: Final = NodeSelection()
"""Every node is selected."""


def affinity_to(names: Iterable[str]) -> dict[str, Any]:
    """Return the affinity of a pod that must run on one of these nodes: a term for each, as the API requires."""
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]} for name in names]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def tolerations_of(options: ClusterOptions) -> tuple[Toleration, ...]:
    """Return the tolerations of the command line; raises UsageError."""
    return tuple(map(Toleration.parse, options.tolerations))


def selection_of(options: ClusterOptions) -> NodeSelection:
    """Return the nodes that the command line selects; raises UsageError."""
    words = [word for word in map(str.strip, (options.nodes or "").split(",")) if word not in ("", ALL)]
    labels = {
        **pairs("--nodes", [word for word in words if "=" in word]),
        **pairs("--node-selector", options.node_selector),
    }
    samples = [word for word in words if word.startswith(SAMPLE)]
    names = tuple(word for word in words if "=" not in word and word not in samples)
    sizes = [word.removeprefix(SAMPLE) for word in samples]
    if any(not size.isdigit() or not int(size) for size in sizes) or len(sizes) > 1 or (sizes and names):
        raise UsageError(
            f"--nodes {options.nodes} is not understood",
            next_step=f"write names, LABEL=VALUE or {SAMPLE}N, separated by commas; a sample is not of named nodes",
        )
    return NodeSelection(labels, names, sample=int(sizes[0]) if sizes else 0)


def pairs(option: str, texts: Iterable[str]) -> dict[str, str]:
    """Return the pairs of an option that takes KEY=VALUE, several of them also separated by commas.

    Raises UsageError for anything else.
    """
    result: dict[str, str] = {}
    for text in (part for given in texts for part in given.split(",")):
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"{option} {text} is not understood", next_step="write KEY=VALUE")
        result[key] = value
    return result
