"""What was read of each node, for verdicts that must not overlook a node that could not be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from session_affinity.errors import NodeError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
U = TypeVar("U")
_NEXT_STEP: Final = (
    "see why they cannot be read; --allow-missing-nodes N judges claims about nodes on the others while at most N are"
    " missing"
)


class ByNode(Mapping[str, T]):
    """Values by node, of the nodes that could be read; ``missing`` has the reason for each other node.

    Iterating, and asking for the length, raises NodeError when more than ``allowed`` nodes are missing: a claim about
    all nodes is then undetermined. The entry of a missing node raises NodeError in any case. ``readable`` has the
    values of the other nodes, for code that goes on without the missing ones.
    """

    def __init__(
        self, readable: Mapping[str, T], missing: Mapping[str, str] | None = None, *, allowed: int = 0
    ) -> None:
        self.readable = dict(readable)
        self.missing = dict(missing or {})
        self.allowed = allowed

    def map(self, function: Callable[[str, T], U]) -> ByNode[U]:
        """Return what a function makes of each node's name and value, with the same nodes missing."""
        values = {name: function(name, value) for name, value in self.readable.items()}
        return ByNode(values, self.missing, allowed=self.allowed)

    def __getitem__(self, name: str) -> T:
        if name in self.missing:
            raise missing_nodes_error({name: self.missing[name]})
        return self.readable[name]

    def __iter__(self) -> Iterator[str]:
        require_nodes(self.missing, self.allowed)
        return iter(self.readable)

    def __len__(self) -> int:
        require_nodes(self.missing, self.allowed)
        return len(self.readable)

    def __contains__(self, name: object) -> bool:
        return name in self.readable

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ByNode):
            return (self.readable, self.missing) == (other.readable, other.missing)
        return not self.missing and self.readable == other

    __hash__ = None  # type: ignore[assignment]


def require_nodes(missing: Mapping[str, str], allowed: int) -> None:
    """Raise NodeError, naming the missing nodes with their reasons, when more are missing than allowed."""
    if len(missing) > allowed:
        raise missing_nodes_error(missing)


def missing_nodes_error(missing: Mapping[str, str]) -> NodeError:
    """Return what to raise when nodes cannot be read, given the reason for each."""
    reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
    return NodeError(f"nodes that this claim needs cannot be read: {reasons}", next_step=_NEXT_STEP)
