"""What a walk showed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from session_affinity.errors import NotReadyError
from session_affinity.text import listed
from session_affinity.waiting import SLOW_MACHINE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.scenarios.walks.bindings import WrongEntry


@dataclass(frozen=True)
class WalkResult:
    """A walk as far as it went: to the first wait after which a node was wrong, or to its end.

    ``steps`` is the number of its steps, ``script`` has them as commands, ``what`` says in words how it was made.
    ``moves`` is the number of moves that were made, waits and steps without effect included.
    ``nodes`` are those that were compared ``waits`` times, ``compared`` is the number of Services on all of them
    together. ``kept`` is how often a bound client was seen to be still bound. ``slowest`` is the longest time in
    seconds from the last request of a batch until a node had it, ``seconds`` how long the walk took.

    ``differences`` are those of the nodes that are wrong, ``service`` is one that differs,
    ``wrong_services`` are the names of all that do, as the walk has them. ``leftovers`` are what nodes
    have although no Service calls for it; ``entries`` affinity entries that are missing, or that nobody made.
    ``failed_syncs`` has for each node that was late how many of its syncs failed. ``known`` is how often something was
    seen that kube-proxy is known to do, by what it is. ``lost_addresses`` are the nodes that answer no node port until
    their kube-proxy is restarted (``NODE_ADDRESSES_LOST``). ``refused`` are requests that the API refused.
    """

    what: str
    steps: int
    script: str
    nodes: tuple[str, ...]
    moves: int = 0
    waits: int = 0
    compared: int = 0
    kept: int = 0
    slowest: float = 0.0
    seconds: float = 0.0
    differences: Mapping[str, tuple[Difference, ...]] = field(default_factory=dict)
    service: ServiceState | None = None
    wrong_services: tuple[str, ...] = ()
    leftovers: Mapping[str, tuple[Difference, ...]] = field(default_factory=dict)
    entries: tuple[WrongEntry, ...] = ()
    failed_syncs: Mapping[str, int] = field(default_factory=dict)
    known: Mapping[str, int] = field(default_factory=dict)
    lost_addresses: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """What was done, in words."""
        return f"made {self.steps} edits in {self.waits} batches, {self.what}"

    @property
    def is_right(self) -> bool:
        """Whether every node had the expected rules and entries, in time, and nothing was left at the end."""
        return not (self.is_wrong or self.failed_syncs)

    @property
    def is_wrong(self) -> bool:
        """Whether a node is wrong in more than being late without a failed sync, as on a slow machine."""
        return bool(self.differences or self.leftovers or self.entries or any(self.failed_syncs.values()))

    def require_synced(self) -> WalkResult:
        """Return self unless nodes were late without a failed sync, and nothing is wrong: that is a NotReadyError."""
        if self.failed_syncs and not self.is_wrong:
            late = listed(list(self.failed_syncs))
            raise NotReadyError(
                f"{late}: did not program a Service created after the steps of a walk in time",
                next_step=f"see whether kube-proxy runs there; {SLOW_MACHINE}",
            )
        return self
