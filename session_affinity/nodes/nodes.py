"""Run commands on nodes and read their rules, affinity entries and connections, all nodes at the same time."""

from __future__ import annotations

import copy
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from session_affinity import recorder
from session_affinity.agents.fleet import CoordinatorLostError, Fleet
from session_affinity.dataplane import snapshot, xt_recent
from session_affinity.dataplane.judgement import Judgement, judge, needed_chain
from session_affinity.dataplane.pages import METRICS_ARGV, PAGES_ARGV
from session_affinity.dataplane.proxy_config import NFTABLES
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import NodeError
from session_affinity.nodes.by_node import ByNode
from session_affinity.nodes.node import shown_command
from session_affinity.nodes.shared_reads import SharedReads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from session_affinity.dataplane.judgement import NodePart, Question
    from session_affinity.dataplane.model import Family
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.dataplane.xt_recent import ClockSample
    from session_affinity.nodes.node import Completed, Node

CLOCK_SECONDS: Final = (1.0, 4.0, 16.0)
"""The least time between two samples of a node's clock from which its tick rate is computed, and those of
further attempts."""


REASON_CHARACTERS: Final = 160
"""How much of a failure's message is the reason for a missing node."""

T = TypeVar("T")


@dataclass
class _Clocks:
    """What is known of the nodes' clocks, whatever the IP family; to be read and written under ``lock``.

    ``first`` is the first sample of each node, ``rates`` are tick rates, ``lists`` the lists that show the clock.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    first: dict[str, ClockSample] = field(default_factory=dict)
    rates: dict[str, int] = field(default_factory=dict)
    lists: tuple[str, ...] = ()


@dataclass
class _Failures:
    """The nodes that could not be read, whatever the IP family; to be read and written under ``lock``.

    ``reasons`` are why, ``times`` the ``time.monotonic()`` of the failure of those that did not answer.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    reasons: dict[str, str] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)


class Nodes:
    """The nodes of a cluster on which commands can be run; may be shared by threads.

    ``family`` is the IP family whose rules and connections are read. ``missing`` are nodes without access, each with
    the reason, and ``allowed_missing`` is how many nodes a claim about all nodes may be judged without. ``fleet`` are
    their agents, where these can judge; a node whose agent is asked costs no connection of its own.
    """

    def __init__(
        self,
        nodes: Mapping[str, Node],
        *,
        family: Family = "IPv4",
        deadlines: Deadlines = DEFAULTS,
        missing: Mapping[str, str] | None = None,
        allowed_missing: int = 0,
        fleet: Fleet | None = None,
    ) -> None:
        self.family = family
        self.allowed_missing = allowed_missing
        self.fleet = fleet
        self._nodes = dict(nodes)
        self._without_access = dict(missing or {})
        self._deadlines = deadlines
        self._clocks = _Clocks()
        self._failures = _Failures()
        self._reads: SharedReads[NodeSnapshot] = SharedReads()
        self._programs: dict[tuple[str, Family], tuple[str, str]] = {}
        """The save program that had kube-proxy's rules, and its variant, by node and IP family."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the nodes with access; empty where no command can be run on any."""
        return tuple(self._nodes)

    @property
    def missing(self) -> dict[str, str]:
        """The nodes that cannot be read at present, each with the reason."""
        with self._failures.lock:
            failed = {name: reason for name, reason in self._failures.reasons.items() if name in self._nodes}
            return {**self._without_access, **failed}

    def in_family(self, family: Family) -> Nodes:
        """Return the same nodes, with the same clocks, for reads of another IP family."""
        other = copy.copy(self)
        other.family = family
        return other

    def only(self, names: Iterable[str]) -> Nodes:
        """Return some of the nodes, with the same clocks; no other node is missing there."""
        some = copy.copy(self)
        some._nodes = {name: self._nodes[name] for name in names}  # noqa: SLF001
        some._without_access = {}  # noqa: SLF001
        return some

    def run(self, name: str, argv: Sequence[str]) -> Completed:
        """Run a command on a node; raises NodeError when there is no such node or it does not end in time."""
        began = time.time()
        done = self._run(name, argv)
        recorder.record(recorder.Action(f"ran {shown_command(argv)}", name), since=began)
        return done

    def run_everywhere(self, argv: Sequence[str]) -> ByNode[Completed]:
        """Run a command on all nodes at the same time and return how it ended; see ``ByNode`` for missing nodes."""
        began = time.time()
        done = self._at_all(self._nodes, lambda name: self._run(name, argv, self._seconds(name)))
        recorder.record(recorder.Action(f"ran {shown_command(argv)}", "every node"), since=began)
        return done

    def read(self, names: Iterable[str] | None = None) -> ByNode[NodeSnapshot]:
        """Read nodes, all unless some are named, at the same time; see ``ByNode`` for nodes that cannot be read."""
        began = time.time()
        wanted = {**self._nodes, **self._without_access} if names is None else dict.fromkeys(names)
        states = self._through_agents(wanted, self._read_by)
        if states is None:
            states = self._at_all(wanted, lambda name: self._read_all(name, self._seconds(name)))
        if states.readable:
            recorder.record(recorder.NodeRead(states.readable, self.family), since=began)
        return states

    def judge(
        self,
        question: Question,
        part: Callable[[str], NodePart],
        names: Iterable[str] | None = None,
        *,
        awaited: bool = False,
    ) -> ByNode[Judgement]:
        """Return what nodes, all unless some are named, answer to a question; see ``ByNode`` for those that do not.

        ``part`` is called for each node that is asked. Agents judge where they can; elsewhere nodes are read and judged
        here, by the same function. ``awaited`` says that a node is asked again until it has what is waited for: it need
        not be read while it lacks a chain of that (``Judgement.lacks``).
        """
        began = time.time()
        wanted = {**self._nodes, **self._without_access} if names is None else dict.fromkeys(names)
        judged = self._through_agents(
            wanted,
            lambda fleet, tried, seconds: fleet.judge(question, {name: part(name) for name in tried}, seconds),
        )
        if judged is None:
            nodes = self.in_family(question.family)

            def read(name: str) -> NodeSnapshot | Judgement:
                if awaited and (chain := nodes._lacked_chain(name, question, part(name))):  # noqa: SLF001
                    return Judgement(name, lacks=chain)
                return nodes._read_rules(name, question.mode, self._seconds(name))  # noqa: SLF001

            judged = self._at_all(wanted, read).map(
                lambda name, found: found if isinstance(found, Judgement) else judge(found, question, part(name))
            )
        snapshots = {name: found.snapshot for name, found in judged.readable.items() if found.snapshot is not None}
        if snapshots:
            recorder.record(recorder.NodeRead(snapshots, question.family), since=began)
        return judged

    def pages(self) -> ByNode[str]:
        """Return what kube-proxy's pages about its settings say on every node (see ``dataplane.pages``)."""
        pages = self._through_agents(self._nodes, Fleet.pages)
        if pages is None:
            return self.run_everywhere(PAGES_ARGV).map(lambda _, done: done.check().stdout)
        return pages

    def metrics(self) -> ByNode[str]:
        """Return kube-proxy's metrics of every node (see ``dataplane.pages``); raises NodeError."""
        metrics = self._through_agents({**self._nodes, **self._without_access}, Fleet.metrics)
        if metrics is None:
            return self.run_everywhere(METRICS_ARGV).map(lambda _, done: done.check().stdout)
        return metrics

    def read_one(self, name: str, *, flows: bool = False) -> NodeSnapshot:
        """Read one node, with ``flows`` its tracked connections too; raises NodeError."""
        began = time.time()
        state = self._read(name, snapshot.READ_WITH_FLOWS_ARGV[self.family]) if flows else self._read_all(name)
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

        On a busy machine a read may be late between its two values: they are taken further apart where no rate fits.
        Raises NodeError when the clock cannot be read.
        """
        with self._clocks.lock:
            rate, first = self._clocks.rates.get(name), self._clocks.first.get(name)
        if rate:
            return rate
        rate = self._measured_hz(name, first or self._sample(name))
        with self._clocks.lock:
            self._clocks.rates[name] = rate
        return rate

    def _measured_hz(self, name: str, first: ClockSample) -> int:
        *earlier, last = CLOCK_SECONDS
        for seconds in earlier:
            with suppress(NodeError):
                return xt_recent.derive_hz(first, self._sample_after(name, first, seconds))
        return xt_recent.derive_hz(first, self._sample_after(name, first, last))

    def _sample_after(self, name: str, first: ClockSample, seconds: float) -> ClockSample:
        latest = self._sample(name)
        if (missing := seconds - (latest.uptime - first.uptime)) > 0:
            time.sleep(missing)
            latest = self._sample(name)
        return latest

    def _at_all(self, names: Iterable[str], action: Callable[[str], T]) -> ByNode[T]:
        """Return the value of an action on nodes, by node, run on all at the same time.

        A node that failed by not answering is not tried again for ``deadlines.node_retry`` seconds.
        """
        tried, missing = self._tried(names)
        values: dict[str, T] = {}

        def attempt(name: str) -> None:
            began = time.monotonic()
            try:
                values[name] = action(name)
            except NodeError as error:
                missing[name] = self._note_failure(name, error, time.monotonic() - began)
            else:
                self._note_answer(name)

        if tried:
            with ThreadPoolExecutor(len(tried), thread_name_prefix="nodes") as pool:
                list(pool.map(attempt, tried))
        in_order = {name: values[name] for name in tried if name in values}
        return ByNode(in_order, missing, allowed=self.allowed_missing)

    def _through_agents(
        self,
        names: Iterable[str],
        ask: Callable[[Fleet, list[str], float], tuple[Mapping[str, T], Mapping[str, str]]],
    ) -> ByNode[T] | None:
        """Return what agents answer, by node; None where none judge, or their coordinator is lost.

        Those whose last answer was late get less time, and only now and then.
        """
        fleet = self.fleet
        if fleet is None or fleet.lost:
            return None
        tried, missing = self._tried(names)
        values: dict[str, T] = {}
        patience: dict[float, list[str]] = {}
        for name in tried:
            patience.setdefault(self._seconds(name), []).append(name)
        for seconds, asked in patience.items():
            began = time.monotonic()
            try:
                found, silent = ask(fleet, asked, seconds)
            except CoordinatorLostError:
                return None
            took = time.monotonic() - began
            values |= found
            for name in found:
                self._note_answer(name)
            missing |= {name: self._note_failure(name, NodeError(reason), took) for name, reason in silent.items()}
        return ByNode({name: values[name] for name in tried if name in values}, missing, allowed=self.allowed_missing)

    def _read_by(
        self, fleet: Fleet, names: list[str], seconds: float
    ) -> tuple[dict[str, NodeSnapshot], dict[str, str]]:
        with self._clocks.lock:
            lists = self._clocks.lists
        texts, missing = fleet.read(names, self.family, seconds, clock=lists)
        states: dict[str, NodeSnapshot] = {}
        for name, text in texts.items():
            try:
                states[name] = self._with_sample(snapshot.parse(name, text))
            except NodeError as error:
                missing[name] = error.what
        return states, missing

    def _tried(self, names: Iterable[str]) -> tuple[list[str], dict[str, str]]:
        """Return the nodes that are to be tried now, and why the others are not."""
        wanted = list(names)
        missing = {name: reason for name, reason in self.missing.items() if name in wanted and not self._is_due(name)}
        return [name for name in wanted if name not in missing], missing

    def _is_due(self, name: str) -> bool:
        with self._failures.lock:
            failed = self._failures.times.get(name)
        return name in self._nodes and (failed is None or time.monotonic() - failed >= self._deadlines.node_retry)

    def _note_failure(self, name: str, error: NodeError, seconds: float) -> str:
        reason = _shortened(error.what.removeprefix(f"{name}: "))
        with self._failures.lock:
            self._failures.reasons[name] = reason
            if seconds >= self._deadlines.node_second_try:
                self._failures.times[name] = time.monotonic()
        return reason

    def _note_answer(self, name: str) -> None:
        with self._failures.lock:
            self._failures.reasons.pop(name, None)
            self._failures.times.pop(name, None)

    def _seconds(self, name: str) -> float:
        """Return how long a command on a node may take: less where the last one failed."""
        with self._failures.lock:
            failed = name in self._failures.times
        return self._deadlines.node_second_try if failed else self._deadlines.node_read

    def _run(self, name: str, argv: Sequence[str], seconds: float | None = None) -> Completed:
        if name not in self._nodes:
            raise NodeError(
                f"no access to node {name}", next_step=f"the cluster gives access to {', '.join(self._nodes) or 'none'}"
            )
        return self._nodes[name].run(argv, timeout=seconds or self._deadlines.node_read)

    def _read_all(self, name: str, seconds: float | None = None) -> NodeSnapshot:
        return self._read_known(name, snapshot.READ_ARGV[self.family], snapshot.READ_BY_ARGV, snapshot.parse, seconds)

    def _lacked_chain(self, name: str, question: Question, part: NodePart) -> str:
        """Return a chain that a node needs and seems to lack; empty if it has it, or could as well be read.

        The command may fail for another reason, so whoever waits for the chain has to read the node in the end.
        """
        program, variant = self._programs.get((name, self.family), ("", ""))
        chain = needed_chain(name, question, part) if variant == snapshot.NF_TABLES else ""
        if not chain:
            return ""
        done = self._run(name, snapshot.chain_argv(program, chain), self._seconds(name))
        return chain if done.returncode == snapshot.NO_CHAIN else ""

    def _read_rules(self, name: str, mode: str, seconds: float) -> NodeSnapshot:
        """Read what the rules of a mode are compared by: of recent lists nothing."""
        argv = snapshot.READ_RULES_ARGV[mode, self.family]
        if mode == NFTABLES:
            return self._read(name, argv, seconds)
        return self._read_known(name, argv, snapshot.READ_RULES_BY_ARGV, snapshot.parse_rules, seconds)

    def _read_known(
        self,
        name: str,
        argv: Sequence[str],
        by_program: Mapping[str, Sequence[str]],
        parse: Callable[[str, str], NodeSnapshot],
        seconds: float | None,
    ) -> NodeSnapshot:
        """Read a node with the save program that had kube-proxy's rules before, and with any where it has none."""
        program, _ = self._programs.get((name, self.family), ("", ""))
        if program:
            state = self._read(name, by_program[program], seconds, parse)
            if state.has_kube_proxy:
                return state
        state = self._read(name, argv, seconds, parse)
        if state.has_kube_proxy:
            self._programs[name, self.family] = state.program, state.variant
        return state

    def _read(
        self,
        name: str,
        argv: Sequence[str],
        seconds: float | None = None,
        parse: Callable[[str, str], NodeSnapshot] = snapshot.parse,
    ) -> NodeSnapshot:
        with self._clocks.lock:
            lists = self._clocks.lists
        if lists:
            argv = snapshot.with_clock(argv, lists)
        command = tuple(argv)

        def read() -> NodeSnapshot:
            return parse(name, snapshot.whole(name, lambda: self._run(name, command, seconds).check().stdout))

        return self._with_sample(self._reads.read((name, command), read))

    def _with_sample(self, state: NodeSnapshot) -> NodeSnapshot:
        if state.jiffies is not None:
            with self._clocks.lock:
                self._clocks.first.setdefault(state.node, state.sample)
        return state

    def _sample(self, name: str) -> ClockSample:
        return self._read(name, snapshot.READ_LISTS_ARGV).sample


def _shortened(message: str) -> str:
    """Return a message as one line, the middle of a long one left out: a script's text is there."""
    line = " ".join(message.split())
    kept = REASON_CHARACTERS // 2
    return line if len(line) <= REASON_CHARACTERS else f"{line[:kept]} ... {line[-kept:]}"
