"""What the nodes hold, read from all of them at the same time."""

from __future__ import annotations

import copy
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from session_affinity import recorder
from session_affinity.clusters.cluster import shown_command
from session_affinity.dataplane import snapshot, xt_recent
from session_affinity.errors import NodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from session_affinity.clusters.cluster import Completed, Node
    from session_affinity.dataplane.model import Family
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.dataplane.xt_recent import ClockSample

READ_SECONDS: Final = 15.0
LONGEST_PAUSE_SECONDS: Final = 5.0
CLOCK_SECONDS: Final = 1.0
"""How far apart two samples of a node's clock are when its tick rate is told from them."""


class Nodes:
    """The nodes of a cluster that lets commands be run on them; may be shared by threads.

    ``family`` is the IP family whose rules and connections are read; ``deadline_scale`` stretches what a read may take.
    """

    def __init__(self, nodes: Mapping[str, Node], *, family: Family = "IPv4", deadline_scale: float = 1.0) -> None:
        self.family = family
        self._nodes = dict(nodes)
        self._timeout = READ_SECONDS * deadline_scale
        self._lock = threading.Lock()
        self._first: dict[str, ClockSample] = {}
        self._rates: dict[str, int] = {}
        self._clock_lists: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the nodes; none where commands cannot be run on them."""
        return tuple(self._nodes)

    def in_family(self, family: Family) -> Nodes:
        """Return the same nodes, with the same clocks, for reading what they hold of another IP family."""
        other = copy.copy(self)
        other.family = family
        return other

    def run(self, name: str, argv: Sequence[str]) -> Completed:
        """Run a command on a node; raises NodeError when there is no such node or it does not end in time."""
        began = time.time()
        done = self._run(name, argv)
        recorder.record(recorder.Action(f"ran {shown_command(argv)}", name), since=began)
        return done

    def run_everywhere(self, argv: Sequence[str]) -> dict[str, Completed]:
        """Run a command on all nodes at the same time; raises NodeError."""
        if not self._nodes:
            return {}
        began = time.time()
        with ThreadPoolExecutor(len(self._nodes), thread_name_prefix="run") as pool:
            done = dict(zip(self._nodes, pool.map(lambda name: self._run(name, argv), self._nodes), strict=True))
        recorder.record(recorder.Action(f"ran {shown_command(argv)}", "every node"), since=began)
        return done

    def read(self, names: Iterable[str] | None = None) -> dict[str, NodeSnapshot]:
        """Read nodes, all unless some are named, at the same time; raises NodeError."""
        wanted = list(self._nodes if names is None else names)
        if not wanted:
            return {}
        began = time.time()
        with ThreadPoolExecutor(len(wanted), thread_name_prefix="read") as pool:
            states = {state.node: state for state in pool.map(self.read_one, wanted)}
        recorder.record(recorder.NodeRead(states, self.family), since=began)
        return states

    def read_one(self, name: str, *, flows: bool = False) -> NodeSnapshot:
        """Read one node, on request with the connections it tracks; raises NodeError."""
        began = time.time()
        state = self._read(name, (snapshot.READ_WITH_FLOWS_ARGV if flows else snapshot.READ_ARGV)[self.family])
        recorder.record(recorder.NodeRead({name: state}, self.family), since=began)
        return state

    def tell_time_by(self, lists: Iterable[str]) -> None:
        """Have these client lists stamped to tell the time, on nodes that hide their clock from an agent."""
        self._clock_lists = tuple(lists)

    def hz(self, name: str) -> int:
        """Return the tick rate of a node's kernel, told from its clock; raises NodeError where that is hidden."""
        with self._lock:
            known, first = self._rates.get(name), self._first.get(name)
        if known:
            return known
        first = first or self._sample(name)
        latest = self._sample(name)
        if latest.uptime - first.uptime < CLOCK_SECONDS:
            time.sleep(CLOCK_SECONDS - (latest.uptime - first.uptime))
            latest = self._sample(name)
        rate = xt_recent.derive_hz(first, latest)
        with self._lock:
            self._rates[name] = rate
        return rate

    def _run(self, name: str, argv: Sequence[str]) -> Completed:
        if name not in self._nodes:
            raise NodeError(
                f"no access to node {name}", next_step=f"the cluster gives access to {', '.join(self._nodes) or 'none'}"
            )
        return self._nodes[name].run(argv, timeout=self._timeout)

    def _read(self, name: str, argv: Sequence[str]) -> NodeSnapshot:
        if self._clock_lists:
            argv = snapshot.with_clock(argv, self._clock_lists)
        state = snapshot.parse(name, self._run(name, argv).check().stdout)
        if state.jiffies is not None:
            with self._lock:
                self._first.setdefault(name, state.sample)
        return state

    def _sample(self, name: str) -> ClockSample:
        return self._read(name, snapshot.READ_LISTS_ARGV).sample


def until(
    deadline: float, attempt: Callable[[], bool], *, pause: float = 0.05, cancelled: threading.Event | None = None
) -> bool:
    """Try until it succeeds or the ``time.monotonic()`` deadline is over; at least once. Return whether it did.

    Between attempts is a pause of so many seconds, or as long as an attempt takes: where that is long, what is waited
    for needs the time.
    """
    began = time.monotonic()
    while not attempt():
        if time.monotonic() >= deadline or (cancelled and cancelled.is_set()):
            return False
        time.sleep(max(pause, min(time.monotonic() - began, LONGEST_PAUSE_SECONDS)))
        began = time.monotonic()
    return True
