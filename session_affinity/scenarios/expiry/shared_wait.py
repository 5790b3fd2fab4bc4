"""The shared wait: all observations that need a timeout to expire, made in the background during other tests.

The threads observe and do not judge (``scenarios.background``).
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from session_affinity import recorder
from session_affinity.cluster_objects.services import DEFAULT_TIMEOUT
from session_affinity.errors import CancelledError, ClusterError, NotReadyError
from session_affinity.nodes.by_node import ByNode
from session_affinity.scenarios.background import in_background
from session_affinity.scenarios.expiry import plan, service_ports
from session_affinity.scenarios.expiry.plan import Group
from session_affinity.scenarios.expiry.trials import EntryReads, Trial, TrialsSeen, make_trial
from session_affinity.traffic.answers import target
from session_affinity.waiting import SLOW_MACHINE, poll

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.testbed.testbed import SyncResult, Testbed
    from session_affinity.traffic.answers import Answer, Answers
    from session_affinity.traffic.client import Client
    from session_affinity.traffic.schedule import ScheduledRequest, StepAnswers

PROGRESS_SECONDS: Final = 0.25
"""Seconds between two calls of ``on_progress``."""
LEAST_SECONDS: Final = 1.0
"""How long ``result`` waits at least, even after the deadline."""

_PATCHED_LATER: Final = (Group.PATCHED, Group.CONTROL)
"""The groups of which the timeout is patched while they have affinity entries, or not at all."""

UNREADABLE_STEP: Final = "check that the suite can read the nodes and that kube-proxy's mode is iptables or nftables"
"""The next step when a claim needs a node's state and the nodes were not read."""


@dataclass(frozen=True)
class TimeoutPatch:
    """A timeout patched on Services that have affinity entries, with the nodes before and after the patch.

    ``later`` are the differences between the nodes' rules and the expected ones when the timeout is over, by node.
    """

    services: tuple[ServiceState, ...]
    before: Mapping[str, NodeSnapshot]
    after: SyncResult
    later: Mapping[str, tuple[Difference, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class SilentClients:
    """Clients that sent no request from before the patch until the new timeout was over.

    ``first`` are the answers before the patch, ``at_end`` is the client's node when the timeout was over, ``probes``
    are the answers after that. ``probed`` is the client's node after the probes, read only if nodes remove expired
    entries.
    """

    services: tuple[ServiceState, ...]
    first: Answers
    at_end: NodeSnapshot
    probes: Answers
    probed: NodeSnapshot | None = None


@dataclass(frozen=True)
class ExpiredElements:
    """Clients that sent one request, with their node before and after their timeout.

    ``contacts`` are the answers to these requests, in the order of the Services.
    """

    services: tuple[ServiceState, ...]
    contacts: tuple[Answer, ...]
    during: NodeSnapshot
    after: NodeSnapshot


@dataclass(frozen=True)
class Observations:
    """The observations of the shared wait.

    ``patch`` and ``silent`` are None if the nodes' rules cannot be read, and then trials have the client's clock only.
    ``expired`` is None in that case, and if the dataplane keeps expired entries. ``error`` is the reason why there are
    no trials: the client's node did not sync the patched timeouts. ``hz`` is the tick rate of the client's node, 0 if
    it is unknown.

    The methods return an observation and record it as evidence; they raise NotReadyError or ClusterError without it.
    """

    patch: TimeoutPatch | None = None
    trials: Mapping[Group, tuple[Trial, ...]] = field(default_factory=dict)
    silent: SilentClients | None = None
    expired: ExpiredElements | None = None
    hz: int = 0
    error: NotReadyError | None = None

    def of(self, group: Group) -> tuple[Trial, ...]:
        """Return the trials of a group."""
        if self.error:
            raise self.error
        if self.silent is not None:
            recorder.record(recorder.NodeRead({self.silent.at_end.node: self.silent.at_end}))
        recorder.record(TrialsSeen(self.trials[group]))
        return self.trials[group]

    def timeout_patch(self) -> TimeoutPatch:
        """Return the patch of the timeout, with the nodes before and after it."""
        if self.patch is None:
            raise ClusterError("the nodes were not read before and after the patch", next_step=UNREADABLE_STEP)
        recorder.record(self.patch.after)
        return self.patch

    def silent_clients(self) -> SilentClients:
        """Return the clients that sent no request until the patched timeout was over."""
        if self.error:
            raise self.error
        if self.silent is None:
            raise ClusterError("the entries of silent clients were not read", next_step=UNREADABLE_STEP)
        for state in filter(None, (self.silent.at_end, self.silent.probed)):
            recorder.record(recorder.NodeRead({state.node: state}))
        recorder.record(self.silent)
        return self.silent

    def expired_elements(self) -> ExpiredElements:
        """Return the clients whose set elements were read before and after their timeout."""
        if self.error:
            raise self.error
        if self.expired is None:
            raise ClusterError(
                "the client's node was not read before and after a timeout",
                next_step=f"{UNREADABLE_STEP}; only nftables mode removes expired entries",
            )
        for state in (self.expired.during, self.expired.after):
            recorder.record(recorder.NodeRead({state.node: state}))
        recorder.record(self.expired)
        return self.expired


@dataclass(frozen=True)
class _Contacts:
    """The first requests to Services whose timeout is patched after that, and the client's node before the patch.

    ``others`` are the Services of the other groups.
    """

    services: tuple[ServiceState, ...]
    others: tuple[ServiceState, ...]
    first: Answers
    before: Mapping[str, NodeSnapshot]


class SharedWait:
    """One wait for the timeout of all groups: ``start`` it early, and get the ``result`` as late as possible.

    ``second`` is another client on the client's node.
    """

    def __init__(self, testbed: Testbed, second: Future[Client]) -> None:
        self._testbed = testbed
        self._second = second
        self._deadlines = testbed.deadlines
        self._cancelled = threading.Event()
        self._observer: threading.Thread | None = None
        self._result: Future[Observations] = Future()
        self._began = 0.0
        self._followed_since: float | None = None
        self._following = threading.Event()
        self._step = "not started"

    def start(self) -> SharedWait:
        """Start the observing thread."""
        self._began = time.monotonic()
        self._observer = in_background("expiry-observer", self._observe, self._result)
        return self

    def cancel(self) -> None:
        """Stop the observing thread and wait for its end, so that it creates no more Services.

        The thread ends before its next step, so the wait is short; ``Deadlines.shared_wait_cancel`` bounds it. Requests
        of a schedule may continue in the client's pod until their command ends; they create nothing.
        """
        self._cancelled.set()
        if self._observer is not None:
            self._observer.join(self._deadlines.shared_wait_cancel)

    def wait_for_requests(self) -> None:
        """Wait until the first requests of the plan are sent, or never will be: from then on, time passes by itself."""
        self._following.wait(self._deadlines.shared_wait_overtime)

    def remaining(self) -> float:
        """Return the estimated seconds until the result; 0 when it is there."""
        if self._result.done():
            return 0.0
        since = time.monotonic() if self._followed_since is None else self._followed_since
        return max(since + plan.JUST_AFTER - time.monotonic(), 0.0)

    def result(self, on_progress: Callable[[float], None] = lambda _: None) -> Observations:
        """Wait for the observations and return them; raises the exception of the observing thread.

        ``on_progress`` is called every quarter of a second with the estimated seconds left. Raises NotReadyError after
        the deadline.
        """
        limit = plan.JUST_AFTER + self._deadlines.shared_wait_overtime

        def has_ended() -> bool:
            if not self._result.done():
                on_progress(self.remaining())
            return bool(wait([self._result], timeout=PROGRESS_SECONDS).done)

        if not poll(has_ended, max(self._began + limit - time.monotonic(), LEAST_SECONDS), pause=0):
            raise NotReadyError(
                f"the shared wait for expiry did not end within {limit:.0f} s; last state: {self._step}",
                next_step=f"check that the API server and the client's pod still run; {SLOW_MACHINE}",
            )
        return self._result.result()

    def _begin(self, step: str) -> None:
        """Set the step that error messages name; raises CancelledError if the wait was cancelled."""
        self._step = step
        if self._cancelled.is_set():
            raise CancelledError(f"the shared wait was cancelled before this step: {step}")

    def _observe(self) -> Observations:
        try:
            return self._observations()
        finally:
            self._following.set()

    def _observations(self) -> Observations:
        services, late = self._patched_services()
        if not self._testbed.reads_rules:
            return Observations(error=late) if late else self._followed(services, None)
        if late:
            # The other patch is judged all the same, where the node has what is not patched yet.
            self._testbed.wait_for_client_sync(*_all(services, *_PATCHED_LATER), since=time.monotonic())
        contacts = self._contact(services)
        return Observations(self._patch(contacts), error=late) if late else self._followed(services, contacts)

    def _patched_services(self) -> tuple[dict[Group, tuple[ServiceState, ...]], NotReadyError | None]:
        """Create all Services, patch the timeout of the groups that need no entries for it, and wait for the sync.

        Return the Services, and what is late on the client's node; None if nothing is.
        """
        testbed = self._testbed
        self._begin("create the Services")
        if testbed.reads_rules:
            since = time.monotonic()
            services = self._create_services(patched=True)
        else:
            # What a dataplane makes of a change shows only in what clients see.
            created = self._create_services(patched=False)
            self._begin("wait until the client's node has the Services")
            testbed.wait_for_client_sync(*_all(created), since=time.monotonic())
            self._begin("patch the timeouts")
            since = time.monotonic()
            services = {
                group: members if group in _PATCHED_LATER else self._patched(members)
                for group, members in created.items()
            }
        self._begin("wait until the client's node has the timeouts")
        node = testbed.client.node
        sync = testbed.wait_for_sync(*_all(services), since=since, nodes=(node,))
        try:
            sync.require(*((node,) if testbed.reads_rules else ()))
        except NotReadyError as error:
            return services, error
        return services, None

    def _contact(self, services: Mapping[Group, tuple[ServiceState, ...]]) -> _Contacts:
        """Give the client an entry for each Service whose timeout is patched then."""
        self._begin("send the first requests to the Services whose timeout is patched while they have entries")
        client, patched = self._testbed.client, services[Group.PATCHED]
        first = client.request(*map(target, service_ports.each_port(patched)))
        before = {client.node: self._testbed.nodes.read_one(client.node)}
        others = tuple(_all(services, *(group for group in services if group is not Group.PATCHED)))
        return _Contacts(patched, others, first, before)

    def _patch(self, contacts: _Contacts) -> TimeoutPatch:
        """Patch the timeout of Services that have affinity entries, and wait until the nodes have synced it."""
        since = time.monotonic()
        patched = self._patched(contacts.services)
        sync = self._testbed.wait_for_sync(*contacts.others, *patched, since=since, with_entries=True)
        return TimeoutPatch(service_ports.each_port(patched), contacts.before, sync)

    def _patched(self, services: Sequence[ServiceState]) -> tuple[ServiceState, ...]:
        return tuple(self._testbed.services.patch_timeouts(services, plan.TIMEOUT_SECONDS))

    def _followed(self, services: Mapping[Group, tuple[ServiceState, ...]], contacts: _Contacts | None) -> Observations:
        """Send all requests of the plan, with the patch meanwhile, and read the nodes when the timeout is over."""
        testbed, client = self._testbed, self._testbed.client
        self._begin("wait for the second client")
        second = self._second.result()
        self._begin("send requests at the moments of the plan")
        hz = testbed.hz(client.node) if contacts else None
        patching: Future[TimeoutPatch] = Future()

        def begin_patch() -> None:
            if contacts:
                in_background("expiry-patch", lambda: self._patch(contacts), patching)

        ports = {group: service_ports.each_port(members) for group, members in services.items()}
        steps, during = self._follow(ports, second, begin_patch, reads=contacts is not None)
        patch = patching.result() if contacts else None
        try:
            if patch:
                patch.after.require(client.node)
        except NotReadyError as error:
            return Observations(patch, error=error)
        self._begin("read the nodes after the timeout")
        states: ByNode[NodeSnapshot] = testbed.nodes.read() if contacts else ByNode({})
        after = states[client.node] if contacts else None
        entry_reads = EntryReads(client.address, testbed.backend if contacts else None, during, after, hz)
        trials: dict[Group, tuple[Trial, ...]] = {
            group: tuple(make_trial(service, steps[group], entry_reads) for service in members)
            for group, members in ports.items()
            if group not in (Group.PATCHED, Group.VANISHING)
        }
        of_second = replace(entry_reads, address=second.address)
        trials[Group.OPEN] = tuple(
            make_trial(service, steps[Group.OPEN], of_second) for service in ports[Group.EXPIRED]
        )
        expired = None
        if Group.VANISHING in ports and during is not None and after is not None:
            expired = _expired_elements(ports[Group.VANISHING], steps[Group.VANISHING], during, after)
        silent = None
        if contacts and patch and after is not None:
            silent = self._silent(patch, contacts, after)
            every = patch.after.services
            patch = replace(patch, later=states.map(lambda _, state: testbed.differences(state, every)))
        return Observations(patch, trials, silent, expired, hz or 0)

    def _silent(self, patch: TimeoutPatch, contacts: _Contacts, at_end: NodeSnapshot) -> SilentClients:
        """Send the last requests to the Services whose timeout was patched: after the read, as they renew the entry."""
        client = self._testbed.client
        probes = client.request(*map(target, patch.services))
        probed = self._testbed.nodes.read_one(client.node) if self._entries_vanish else None
        return SilentClients(patch.services, contacts.first, at_end, probes, probed)

    @property
    def _entries_vanish(self) -> bool:
        """Whether nodes can be read and remove expired entries."""
        return self._testbed.reads_rules and not self._testbed.backend.counts_connections

    def _create_services(self, *, patched: bool) -> dict[Group, tuple[ServiceState, ...]]:
        possible = {Group.PATCHED: self._testbed.reads_rules, Group.VANISHING: self._entries_vanish}
        groups = [group for group in plan.SIZES if possible.get(group, True)]
        requests = {
            group: service_ports.requests(self._testbed, str(group), DEFAULT_TIMEOUT, plan.SIZES[group])
            for group in groups
        }
        timeouts = [
            plan.TIMEOUT_SECONDS if patched and group not in _PATCHED_LATER else None
            for group, several in requests.items()
            for _ in several
        ]
        every = [each for several in requests.values() for each in several]
        created = iter(self._testbed.services.create_all(every, patched=timeouts))
        return {group: tuple(islice(created, len(several))) for group, several in requests.items()}

    def _follow(
        self,
        services: Mapping[Group, Sequence[ServiceState]],
        second: Client,
        begun: Callable[[], object],
        *,
        reads: bool,
    ) -> tuple[dict[Group, list[StepAnswers]], NodeSnapshot | None]:
        """Run all schedules at the same time, and read the client's node before the timeout.

        ``begun`` is called, and others begin, when the first requests are answered: what delayed these, and not the
        last ones too, would change the silences.
        """
        client = self._testbed.client
        targets = {group: [target(service) for service in members] for group, members in services.items()}
        short, open_ones = plan.short_schedule(targets), plan.open_schedules(targets[Group.EXPIRED])
        began = self._followed_since = time.monotonic()
        running = [_run(number, second, schedule.steps) for number, schedule in enumerate(open_ones, 2)]
        (first,) = client.follow(short.steps[:1])
        running = [_run(1, client, short.steps[1:], start=first.began), *running]
        self._cancelled.wait(max(began + plan.OPENED_AFTER - time.monotonic(), 0.0))
        self._following.set()
        begun()
        during = None
        if reads:
            self._cancelled.wait(max(began + plan.READ_AT - time.monotonic(), 0))
            self._begin("read the client's node before the timeout")
            during = self._testbed.nodes.read_one(client.node)
        self._begin("wait for the answers to the last requests")
        overtime = self._deadlines.shared_wait_overtime
        poll(lambda: _have_ended(running), overtime, pause=0.1, cancelled=self._cancelled)
        self._begin("collect the answers")
        steps: dict[Group, list[StepAnswers]] = {group: [] for group in Group}
        for group in set(short.groups.values()):
            steps[group].append(first)
        for schedule, future in zip((short, *open_ones), running, strict=True):
            answers = future.result()
            for group in set(schedule.groups.values()):
                steps[group] += answers
        return steps, during


def _run(
    number: int, client: Client, steps: Sequence[ScheduledRequest], *, start: float | None = None
) -> Future[tuple[StepAnswers, ...]]:
    future: Future[tuple[StepAnswers, ...]] = Future()
    in_background(f"expiry-schedule-{number}", lambda: client.follow(steps, start=start), future)
    return future


def _expired_elements(
    services: tuple[ServiceState, ...], steps: Sequence[StepAnswers], during: NodeSnapshot, after: NodeSnapshot
) -> ExpiredElements:
    contacts = [answer for step in steps for service in services for answer in step.answers.of(target(service))]
    return ExpiredElements(services, tuple(contacts), during, after)


def _have_ended(running: Sequence[Future[Any]]) -> bool:
    """Whether all schedules have ended, or one has failed."""
    ended = [future for future in running if future.done()]
    return len(ended) == len(running) or any(future.exception() for future in ended)


def _all(services: Mapping[Group, Sequence[ServiceState]], *groups: Group) -> list[ServiceState]:
    """Return the Services of all groups, or of those that are named."""
    return [service for group in groups or services for service in services.get(group, ())]
