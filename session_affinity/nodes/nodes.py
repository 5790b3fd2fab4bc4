"""Run commands on nodes and read their rules, affinity entries and connections, all nodes at the same time."""

from __future__ import annotations

import copy
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from session_affinity import recorder
from session_affinity.dataplane import snapshot, xt_recent
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import NodeError
from session_affinity.nodes.node import shown_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from session_affinity.dataplane.model import Family
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.dataplane.xt_recent import ClockSample
    from session_affinity.nodes.node import Completed, Node

CLOCK_SECONDS: Final = 1.0
"""The least time between two samples of a node's clock from which its tick rate is computed."""


@dataclass
class _Clocks:
    """What is known of the nodes' clocks, whatever the IP family; to be read and written under ``lock``.

    ``first`` is the first sample of each node, ``rates`` are tick rates, ``lists`` the lists that show the clock.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    first: dict[str, ClockSample] = field(default_factory=dict)
    rates: dict[str, int] = field(default_factory=dict)
    lists: tuple[str, ...] = ()


class Nodes:
    """The nodes of a cluster on which commands can be run; may be shared by threads.

    ``family`` is the IP family whose rules and connections are read.
    """

    def __init__(self, nodes: Mapping[str, Node], *, family: Family = "IPv4", deadlines: Deadlines = DEFAULTS) -> None:
        self.family = family
        self._nodes = dict(nodes)
        self._timeout = deadlines.node_read
        self._clocks = _Clocks()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the nodes; empty where no command can be run on any."""
        return tuple(self._nodes)

    def in_family(self, family: Family) -> Nodes:
        """Return the same nodes, with the same clocks, for reads of another IP family."""
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
        """Run a command on all nodes at the same time and return how it ended, by node; raises NodeError."""
        if not self._nodes:
            return {}
        began = time.time()
        with ThreadPoolExecutor(len(self._nodes), thread_name_prefix="run") as pool:
            done = dict(zip(self._nodes, pool.map(lambda name: self._run(name, argv), self._nodes), strict=True))
        recorder.record(recorder.Action(f"ran {shown_command(argv)}", "every node"), since=began)
        return done

    def read(self, names: Iterable[str] | None = None) -> dict[str, NodeSnapshot]:
        """Read nodes, all unless some are named, at the same time; raises NodeError."""
        nodes = list(self._nodes if names is None else names)
        if not nodes:
            return {}
        began = time.time()
        with ThreadPoolExecutor(len(nodes), thread_name_prefix="read") as pool:
            states = {state.node: state for state in pool.map(self.read_one, nodes)}
        recorder.record(recorder.NodeRead(states, self.family), since=began)
        return states

    def read_one(self, name: str, *, flows: bool = False) -> NodeSnapshot:
        """Read one node, with ``flows`` its tracked connections too; raises NodeError."""
        began = time.time()
        state = self._read(name, (snapshot.READ_WITH_FLOWS_ARGV if flows else snapshot.READ_ARGV)[self.family])
        recorder.record(recorder.NodeRead({name: state}, self.family), since=began)
        return state

    def use_as_clock(self, lists: Iterable[str]) -> None:
        """Use these recent lists as a clock on nodes that hide /proc/timer_list from an agent.

        Each read stamps an entry of one of them and reads its jiffies back.
        """
        with self._clocks.lock:
            self._clocks.lists = tuple(lists)

    def hz(self, name: str) -> int:
        """Return the ticks per second of a node's kernel, computed once from two reads of its clock.

        Raises NodeError when the clock cannot be read.
        """
        with self._clocks.lock:
            rate, first = self._clocks.rates.get(name), self._clocks.first.get(name)
        if rate:
            return rate
        first = first or self._sample(name)
        latest = self._sample(name)
        if latest.uptime - first.uptime < CLOCK_SECONDS:
            time.sleep(CLOCK_SECONDS - (latest.uptime - first.uptime))
            latest = self._sample(name)
        rate = xt_recent.derive_hz(first, latest)
        with self._clocks.lock:
            self._clocks.rates[name] = rate
        return rate

    def _run(self, name: str, argv: Sequence[str]) -> Completed:
        if name not in self._nodes:
            raise NodeError(
                f"no access to node {name}", next_step=f"the cluster gives access to {', '.join(self._nodes) or 'none'}"
            )
        return self._nodes[name].run(argv, timeout=self._timeout)

    def _read(self, name: str, argv: Sequence[str]) -> NodeSnapshot:
        with self._clocks.lock:
            lists = self._clocks.lists
        if lists:
            argv = snapshot.with_clock(argv, lists)
        state = snapshot.parse(name, self._run(name, argv).check().stdout)
        if state.jiffies is not None:
            with self._clocks.lock:
                self._clocks.first.setdefault(name, state.sample)
        return state

    def _sample(self, name: str) -> ClockSample:
        return self._read(name, snapshot.READ_LISTS_ARGV).sample
