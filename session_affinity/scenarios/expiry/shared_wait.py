"""The shared wait: all that needs a timeout to run out, observed in the background while other claims are checked.

Threads observe and judge nothing. They are daemons: an interrupted run does not wait for them.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from session_affinity import recorder
from session_affinity.cluster_objects.services import DEFAULT_TIMEOUT, ServiceRequest
from session_affinity.dataplane.model import CLIENT_IP
from session_affinity.errors import ClusterError, NotReadyError, SuiteError
from session_affinity.scenarios.expiry import plan
from session_affinity.scenarios.expiry.plan import Group
from session_affinity.scenarios.expiry.trials import Trial, TrialsSeen, Watch, trial
from session_affinity.traffic.answers import target
from session_affinity.waiting import SLOW_MACHINE, poll

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.scenarios.expiry.plan import Schedule
    from session_affinity.testbed.testbed import SyncResult, Testbed
    from session_affinity.traffic.answers import Answer, Answers
    from session_affinity.traffic.schedule import StepAnswers

TOLD_EVERY_SECONDS: Final = 0.25
LEAST_SECONDS: Final = 1.0
"""How long a result is waited for even when its time is over."""

T = TypeVar("T")


@dataclass(frozen=True)
class TimeoutPatch:
    """A timeout patched in place under entries that were there before; the nodes before it and after it.

    ``later`` is how the nodes' rules differ from what the Services call for when the timeout is over.
    """

    services: tuple[ServiceState, ...]
    before: Mapping[str, NodeSnapshot]
    after: SyncResult
    later: Mapping[str, tuple[Difference, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class SilentClients:
    """Clients that were silent from before the patch until the new timeout was over.

    ``first`` are the requests before the patch, ``at_end`` the client's node when the timeout was over, ``probes`` the
    requests after that, and ``probed`` the client's node after them, where they change what it holds.
    """

    services: tuple[ServiceState, ...]
    first: Answers
    at_end: NodeSnapshot
    probes: Answers
    probed: NodeSnapshot | None = None


@dataclass(frozen=True)
class ExpiredElements:
    """Clients that asked once, and their node before their timeout was over and after it.

    ``contacts`` are their requests, in the order of the Services.
    """

    services: tuple[ServiceState, ...]
    contacts: tuple[Answer, ...]
    during: NodeSnapshot
    after: NodeSnapshot


@dataclass(frozen=True)
class Observations:
    """What was seen during the shared wait.

    ``patch`` and ``rest`` are None, and trials know the client's clock only, where the nodes' rules cannot be read.
    ``departure`` is None also where expired clients stay listed. ``error`` is what kept the clients from being
    watched, and then there are no trials. ``hz`` is the tick rate of the client's node, 0 where it says nothing.
    """

    patch: TimeoutPatch | None = None
    trials: Mapping[Group, tuple[Trial, ...]] = field(default_factory=dict)
    rest: SilentClients | None = None
    departure: ExpiredElements | None = None
    hz: int = 0
    error: NotReadyError | None = None

    def of(self, group: Group) -> tuple[Trial, ...]:
        """Return the trials of a group; raises what kept them from being made."""
        if self.error:
            raise self.error
        if self.rest is not None:
            recorder.record(recorder.NodeRead({self.rest.at_end.node: self.rest.at_end}))
        recorder.record(TrialsSeen(self.trials[group]))
        return self.trials[group]

    def patched(self) -> TimeoutPatch:
        """Return what the patch did to the nodes; raises ClusterError where that cannot be read."""
        if self.patch is None:
            raise ClusterError("the nodes' rules cannot be read here, so the patch was not followed")
        recorder.record(self.patch.after)
        return self.patch

    def silent(self) -> SilentClients:
        """Return the clients that were silent all the time; raises what kept them from being watched."""
        if self.error:
            raise self.error
        if self.rest is None:
            raise ClusterError("the nodes' lists cannot be read here, so no one was watched without being asked")
        for state in filter(None, (self.rest.at_end, self.rest.probed)):
            recorder.record(recorder.NodeRead({state.node: state}))
        recorder.record(self.rest)
        return self.rest

    def departed(self) -> ExpiredElements:
        """Return the clients that were looked for when their time was over; raises what kept them from being so."""
        if self.error:
            raise self.error
        if self.departure is None:
            raise ClusterError("the nodes cannot be read here, or they list clients whose time is over")
        for state in (self.departure.during, self.departure.after):
            recorder.record(recorder.NodeRead({state.node: state}))
        recorder.record(self.departure)
        return self.departure


class CancelledError(SuiteError):
    """The shared wait was cancelled."""


class SharedWait:
    """One wait for all groups; ``start`` it, and ask for the ``result`` when there is nothing else left to do."""

    def __init__(self, testbed: Testbed) -> None:
        self._programming = testbed
        self._deadlines = testbed.deadlines
        self._cancelled = threading.Event()
        self._observer: threading.Thread | None = None
        self._result: Future[Observations] = Future()
        self._began = 0.0
        self._followed_since: float | None = None
        self._step = "not started"

    def start(self) -> SharedWait:
        """Begin in the background."""
        self._began = time.monotonic()
        self._observer = _in_background("expiry-observer", self._observe, self._result)
        return self

    def cancel(self) -> None:
        """End the background work, and wait for its thread: after that no more Services are made.

        The thread ends before its next step, so the wait is short; it is bounded by ``Deadlines.shared_wait_cancel``.
        Requests of a schedule may go on in the client's pod until their command ends: they make nothing.
        """
        self._cancelled.set()
        if self._observer is not None:
            self._observer.join(self._deadlines.shared_wait_cancel)

    def remaining(self) -> float:
        """Return about how many seconds are left; 0 when it has ended."""
        if self._result.done():
            return 0.0
        since = time.monotonic() if self._followed_since is None else self._followed_since
        return max(since + plan.JUST_AFTER - time.monotonic(), 0.0)

    def result(self, told: Callable[[float], None] = lambda _: None) -> Observations:
        """Wait for the end and return what was seen; raises what kept it from being seen.

        Meanwhile ``told`` is called, several times a second, with about how many seconds are left.
        """
        limit = plan.JUST_AFTER + self._deadlines.shared_wait_overtime

        def has_ended() -> bool:
            if not self._result.done():
                told(self.remaining())
            return bool(wait([self._result], timeout=TOLD_EVERY_SECONDS).done)

        if not poll(has_ended, max(self._began + limit - time.monotonic(), LEAST_SECONDS), pause=0):
            raise NotReadyError(
                f"the shared wait for expiry did not end within {limit:.0f} s; last state: {self._step}",
                next_step=f"see whether the cluster still answers; {SLOW_MACHINE}",
            )
        return self._result.result()

    def _begin(self, step: str) -> None:
        """Note what is done next; raises CancelledError when nothing more is to be done."""
        self._step = step
        if self._cancelled.is_set():
            raise CancelledError(f"the shared wait was cancelled before this step: {step}")

    def _observe(self) -> Observations:
        testbed, client = self._programming, self._programming.client
        reads = testbed.reads_rules
        self._begin("create the Services")
        made = self._make_services()
        self._begin("wait until the client's node has the Services")
        testbed.wait_for_sync(*_all(made), since=time.monotonic()).require(*((client.node,) if reads else ()))
        self._begin("send the first requests to the Services whose timeout is patched")
        silent = made.get(Group.PATCHED, ())
        first = client.request(*map(target, silent)) if silent else None
        before = testbed.nodes.read() if reads else {}

        self._begin("patch the timeouts")
        services, sync = self._patch(made)
        patch = TimeoutPatch(services[Group.PATCHED], before, sync) if reads else None
        try:
            sync.require(*((client.node,) if reads else ()))
        except NotReadyError as error:
            return Observations(patch, error=error)

        self._begin("send requests at the moments of the plan")
        hz = testbed.hz(client.node) if reads else None
        steps, during = self._follow(services, reads=reads)
        self._begin("read the nodes after the timeout")
        states = testbed.nodes.read() if reads else {}
        after = states.get(client.node)
        watch = Watch(client.address, testbed.backend if reads else None, during, after, hz)
        trials: dict[Group, tuple[Trial, ...]] = {
            group: tuple(trial(service, steps[group], watch) for service in own)
            for group, own in services.items()
            if group not in (Group.PATCHED, Group.GONE)
        }
        rest = departure = None
        if first is not None and after is not None:
            # Only now, when the nodes were read: the entry must be seen expired before anyone asks again.
            probes = client.request(*map(target, silent))
            probed = testbed.nodes.read_one(client.node) if self._lets_go else None
            rest = SilentClients(services[Group.PATCHED], first, after, probes, probed)
        if Group.GONE in services and during is not None and after is not None:
            departure = _departure(services[Group.GONE], steps[Group.GONE], during, after)
        if patch is not None:
            later = {name: testbed.differences(state, _all(services)) for name, state in states.items()}
            patch = replace(patch, later=later)
        return Observations(patch, trials, rest, departure, hz or 0)

    @property
    def _lets_go(self) -> bool:
        """Whether nodes can be read and list no client whose time is over."""
        return self._programming.reads_rules and not self._programming.backend.counts_connections

    def _make_services(self) -> dict[Group, tuple[ServiceState, ...]]:
        possible = {Group.PATCHED: self._programming.reads_rules, Group.GONE: self._lets_go}
        groups = [group for group in Group if possible.get(group, True)]
        wishes = [
            ServiceRequest(str(group), CLIENT_IP, DEFAULT_TIMEOUT) for group in groups for _ in range(plan.SIZES[group])
        ]
        made = iter(self._programming.services.create_all(wishes))
        return {group: tuple(next(made) for _ in range(plan.SIZES[group])) for group in groups}

    def _patch(
        self, made: Mapping[Group, Sequence[ServiceState]]
    ) -> tuple[dict[Group, tuple[ServiceState, ...]], SyncResult]:
        since = time.monotonic()
        services = {
            group: tuple(
                own if group is Group.CONTROL else self._programming.services.patch_timeouts(own, plan.TIMEOUT_SECONDS)
            )
            for group, own in made.items()
        }
        return services, self._programming.wait_for_sync(*_all(services), since=since)

    def _follow(
        self, services: Mapping[Group, Sequence[ServiceState]], *, reads: bool
    ) -> tuple[dict[Group, list[StepAnswers]], NodeSnapshot | None]:
        """Run all schedules at the same time, and read the client's node while they wait."""
        client = self._programming.client
        targets = {group: [target(service) for service in own] for group, own in services.items()}
        schedules = [plan.short_schedule(targets), *plan.open_schedules(targets[Group.OPEN])]
        began = self._followed_since = time.monotonic()
        running = [self._run(number, schedule) for number, schedule in enumerate(schedules, 1)]
        during = None
        if reads:
            self._cancelled.wait(max(began + plan.LOOK_AT - time.monotonic(), 0))
            self._begin("read the client's node before the timeout")
            during = self._programming.nodes.read_one(client.node)
        self._begin("wait for the answers to the last requests")
        overtime = self._deadlines.shared_wait_overtime
        poll(lambda: _have_ended(running), overtime, pause=0.1, cancelled=self._cancelled)
        self._begin("collect the answers")
        steps: dict[Group, list[StepAnswers]] = {group: [] for group in services}
        for schedule, future in zip(schedules, running, strict=True):
            done = future.result()
            for group in set(schedule.groups.values()):
                steps[group] += done
        return steps, during

    def _run(self, number: int, schedule: Schedule) -> Future[tuple[StepAnswers, ...]]:
        future: Future[tuple[StepAnswers, ...]] = Future()
        _in_background(f"expiry-schedule-{number}", lambda: self._programming.client.follow(schedule.steps), future)
        return future


def _departure(
    services: tuple[ServiceState, ...], steps: Sequence[StepAnswers], during: NodeSnapshot, after: NodeSnapshot
) -> ExpiredElements:
    asked = [answer for step in steps for service in services for answer in step.answers.of(target(service))]
    return ExpiredElements(services, tuple(asked), during, after)


def _have_ended(running: Sequence[Future[Any]]) -> bool:
    """Whether all have ended, or one has failed."""
    ended = [future for future in running if future.done()]
    return len(ended) == len(running) or any(future.exception() for future in ended)


def _all(groups: Mapping[Group, Sequence[ServiceState]]) -> list[ServiceState]:
    return [service for own in groups.values() for service in own]


def _in_background(name: str, work: Callable[[], T], future: Future[T]) -> threading.Thread:
    """Start a thread of this name that does the work and hands its result, or its exception, to the future."""

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - future.result() raises it in the thread that wants the result
            future.set_exception(error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
