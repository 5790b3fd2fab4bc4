"""The phases of a run as the summary shows them: the set-up that tests share, by what it does.

A phase is the time of one or more fixtures. Fixtures without a name here are summed up as ``OTHER``.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CLUSTER_START: Final = "cluster start"
OTHER: Final = "other set-up"
PHASES: Final[Mapping[str, str]] = {
    "cluster": CLUSTER_START,
    "sample_pods": "sample pods",
    "client": "check that the client reaches the pods",
    "secondary_testbed": "check that the client reaches the pods",
    "new_services": "Services of single tests",
    "path_clients": "host-network and hairpin pods",
    "node_port_targets": "node ports",
    "path_services": "Services with node ports and external addresses",
    "synced_rules": "rules of five Services",
    "zoned_services": "Services with topology hints",
    "datagram_endpoints": "UDP endpoints",
    "datagram_services": "UDP Services",
    "short_timeouts": "timeouts of seconds",
    "endpoint_changes": "endpoint changes",
    "shapes_in_background": "labels of zones",
    "shapes": "Services of every shape",
    "answered_shapes": "Services of many shapes over pods",
    "pods": "removal of leftovers",
    "services": "removal of leftovers",
}
"""The names of phases by the fixture that spends the time."""
SHORTEST_SECONDS: Final = 0.05
"""A phase that takes less is not shown."""


@dataclass
class SetupTimes:
    """Seconds spent in shared fixtures, by fixture, each without the fixtures that it requests."""

    seconds: dict[str, float] = field(default_factory=dict)
    _inner: list[float] = field(default_factory=list)
    """For each fixture that is being set up, the outermost first, the seconds of the fixtures that it has requested."""

    @contextlib.contextmanager
    def measure(self, fixture: str) -> Iterator[None]:
        """Add the duration of the block to a fixture, and subtract it from the fixture that requests it."""
        began = time.monotonic()
        self._inner.append(0.0)
        try:
            yield
        finally:
            taken = time.monotonic() - began
            self.seconds[fixture] = self.seconds.get(fixture, 0.0) + taken - self._inner.pop()
            if self._inner:
                self._inner[-1] += taken

    def total(self) -> float:
        """Return the seconds of all fixtures together."""
        return sum(self.seconds.values())

    def phases(self) -> dict[str, float]:
        """Return the seconds of each phase that is long enough to be shown, ``OTHER`` last."""
        phases: dict[str, float] = {}
        other = 0.0
        for fixture, seconds in self.seconds.items():
            if name := PHASES.get(fixture):
                phases[name] = phases.get(name, 0.0) + seconds
            else:
                other += seconds
        return long_enough({**phases, OTHER: other})


def long_enough(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the entries that are long enough to be shown."""
    return {name: taken for name, taken in seconds.items() if taken >= SHORTEST_SECONDS}
