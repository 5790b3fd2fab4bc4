"""A client: a pod that sends requests, or a machine outside the cluster."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from session_affinity import recorder
from session_affinity.dataplane.model import family_of
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import TrafficError
from session_affinity.kube import pod_state
from session_affinity.traffic import at_once, curl, datagrams, flows, schedule, tcp_counters
from session_affinity.traffic import stream as streams
from session_affinity.traffic.answers import Answers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from session_affinity.dataplane.model import Family
    from session_affinity.kube.api import Api
    from session_affinity.nodes.node import Completed
    from session_affinity.traffic.answers import Target

CONTAINER: Final = "client"
NO_PROGRAM: Final = (126, 127)
"""Exit codes of a shell: the program cannot be run, the program does not exist."""

AT_ONCE_ROUNDS: Final = 3
"""How often requests are sent at most until all of their connections were open at the same time."""


class ClientId(NamedTuple):
    """The client that a verdict is about: its pod, the source address that nodes see, and its node."""

    pod: str
    address: str
    node: str

    def __str__(self) -> str:
        return f"{self.pod} ({self.address} on {self.node})"


class Requester(ABC):
    """What sends requests with curl, wherever it is."""

    deadlines: Deadlines
    timeout_factor: float

    @property
    @abstractmethod
    def id(self) -> ClientId:
        """Name, address and place of the client."""

    @abstractmethod
    def _run(self, argv: Sequence[str], timeout: float) -> str:
        """Return what a command prints there; raises TrafficError or ExecError."""

    @property
    def timeouts(self) -> curl.RequestTimeouts:
        """The timeouts of one request."""
        return curl.RequestTimeouts().scaled(self.deadlines.scale * self.timeout_factor)

    def request(self, *targets: Target, count: int = 1, name: str = "answers") -> Answers:
        """Send ``count`` requests to each target in turn, each on a new connection, in one exec.

        ``name`` is the heading of the round in the report. A failed request is an answer with an error. Raises
        TrafficError if the client could not send the requests.
        """
        argv = ["curl", *curl.options(self.timeouts), *curl.urls(targets, count=count)]
        requests = len(targets) * count
        # Long enough for 30 requests that get no answer: then the answers show the failure, not a timeout of the exec.
        timeout = self.deadlines.exec_start + self.timeouts.connect * min(requests, 30)
        began = time.time()
        answers = curl.require_new_connections(curl.parse(self._run(argv, timeout), requests))
        recorder.record(recorder.RequestRound(*self.id, answers, name), since=began)
        return answers


@dataclass(frozen=True)
class Client(Requester):
    """A pod with curl; ``address`` is the source address that nodes see. May be shared by threads.

    ``timeout_factor`` multiplies the timeouts of requests. ``container`` is empty in a pod with a single container.
    """

    api: Api
    namespace: str
    pod: str
    address: str
    node: str
    deadlines: Deadlines = DEFAULTS
    timeout_factor: float = 1.0
    container: str = ""

    @property
    def id(self) -> ClientId:
        """Pod, address and node of the client."""
        return ClientId(self.pod, self.address, self.node)

    @property
    def with_short_timeouts(self) -> Client:
        """The same client with a quarter of the timeouts, for requests that are expected to get no answer."""
        return replace(self, timeout_factor=self.timeout_factor / 4)

    def request_at_once(self, target: Target, count: int, wait_seconds: float = 1.0) -> at_once.SimultaneousAnswers:
        """Send requests over connections that are all open at the same time; raises TrafficError if they were not.

        Endpoints answer each request after ``wait_seconds``, multiplied by the deadline scale. A busy machine may take
        longer to open all: then more are sent, up to ``AT_ONCE_ROUNDS`` times, to be answered after twice as long.
        """
        began, earlier = time.time(), Answers(())
        for number in range(AT_ONCE_ROUNDS):
            wait = wait_seconds * self.deadlines.scale * 2**number
            argv = at_once.argv(target, count, wait, self.timeouts)
            timeout = self.deadlines.exec_start + self.timeouts.total + wait
            try:
                last = at_once.parse(self._run(argv, timeout), count, wait)
                break
            except at_once.NotAtOnceError as error:
                earlier += error.answers
                if number == AT_ONCE_ROUNDS - 1:
                    raise
        answers = earlier + last.answers
        round_ = recorder.RequestRound(self.pod, self.address, self.node, answers, "answers at once")
        recorder.record(round_, since=began)
        return replace(last, answers=answers)

    def follow(
        self, steps: Sequence[schedule.ScheduledRequest], *, start: float | None = None
    ) -> tuple[schedule.StepAnswers, ...]:
        """Send requests at scheduled moments, in one exec; raises TrafficError.

        The moments count from ``start`` on the client's uptime, in seconds; None is when the command has started, which
        takes seconds on a busy machine.
        """
        last = max(step.at + step.requests / (step.per_second or 100) for step in steps)
        timeout = last + 2 * self.deadlines.exec_start + self.timeouts.total * 6
        return schedule.parse(self._run(schedule.argv(steps, self.timeouts, start), timeout), steps)

    def stream(self, target: Target) -> streams.Stream:
        """Start to send requests to a target, until ``Stream.stop``; raises ExecError."""
        command = self.api.start(
            self.namespace, self.pod, streams.argv(target, self.timeouts), container=self.container
        )
        return streams.Stream(target, command, self.timeouts.total)

    def flows(self, targets: Sequence[Target]) -> flows.Flows:
        """Start to send datagrams to each target on a socket of its own, until ``Flows.stop``; raises ExecError."""
        timeout = self.timeouts.connect
        command = self.api.start(self.namespace, self.pod, flows.argv(targets, timeout), container=self.container)
        return flows.Flows(targets, command, timeout)

    def uptime(self) -> float:
        """Return the client's uptime in seconds, on which the moments of answers are given; raises TrafficError."""
        fields = self._run(("cat", "/proc/uptime"), self.deadlines.exec_start).split()
        if not fields:
            raise TrafficError(
                f"{self.namespace}/{self.pod}: /proc/uptime is empty",
                next_step="check that the client's container can read /proc",
            )
        return float(fields[0])

    def syns_sent_again(self) -> int:
        """Return how many first packets of TCP connections the pod has sent again so far; raises TrafficError."""
        return tcp_counters.syns_sent_again(self._run(tcp_counters.ARGV, self.deadlines.exec_start))

    def exchange(self, *rounds: datagrams.Round) -> tuple[Answers, ...]:
        """Send rounds of datagrams, in one exec, and return the answers of each round; raises TrafficError."""
        timeout = self.deadlines.exec_start + sum(round_.pause for round_ in rounds)
        timeout += self.timeouts.connect * min(sum(len(round_.sent_to) for round_ in rounds), 30)
        began = time.time()
        by_round = datagrams.parse(self._run(datagrams.argv(rounds, self.timeouts.connect), timeout), rounds)
        for round_, answers in zip(rounds, by_round, strict=True):
            recorder.record(recorder.RequestRound(self.pod, self.address, self.node, answers, round_.name), since=began)
        return by_round

    def _run(self, argv: Sequence[str], timeout: float) -> str:
        result = self.api.run(self.namespace, self.pod, argv, timeout=timeout, container=self.container)
        if result.returncode in NO_PROGRAM:
            raise TrafficError(
                f"{self.namespace}/{self.pod}: {result.stderr.strip()[-300:] or 'a program is missing'}",
                next_step="use an image with sh, bash and curl 7.88 or later for the client",
            )
        return result.stdout


class Host(Protocol):
    """A machine outside the cluster (see ``clusters.outside.OutsideHost``)."""

    @property
    def name(self) -> str:
        """Its name in messages and in the report."""

    @property
    def place(self) -> str:
        """Where it is, in words."""

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        """Run a command there; raises NodeError."""


@dataclass(frozen=True)
class OutsideClient(Requester):
    """A machine outside the cluster with curl; the address that nodes see may be another one than its own."""

    host: Host
    deadlines: Deadlines = DEFAULTS
    timeout_factor: float = 1.0

    @property
    def id(self) -> ClientId:
        """Name and place of the machine."""
        return ClientId(self.host.name, "a client", self.host.place)

    @property
    def with_short_timeouts(self) -> OutsideClient:
        """The same client with a quarter of the timeouts, for requests that are expected to get no answer."""
        return replace(self, timeout_factor=self.timeout_factor / 4)

    def _run(self, argv: Sequence[str], timeout: float) -> str:
        done = self.host.run(argv, timeout=timeout)
        if done.returncode in NO_PROGRAM:
            raise TrafficError(
                f"{self.host.name}: {done.stderr.strip()[-300:] or 'a program is missing'}",
                next_step="install curl 7.88 or later on the machine outside the cluster",
            )
        return done.stdout


def client_in(
    api: Api, pod: Mapping[str, Any], deadlines: Deadlines = DEFAULTS, *, family: Family | None = None
) -> Client:
    """Return the client of a running pod; ``pod`` is the API's object.

    Its address is that of ``family``, or the primary one; raises TrafficError if the pod has no address of that family.
    In a pod with several containers the client is the one called CONTAINER (see ``pods.Role``).
    """
    metadata, spec = pod["metadata"], pod["spec"]
    addresses = pod_state.addresses(pod)
    address = next((address for address in addresses if family in (None, family_of(address))), None)
    if address is None:
        raise TrafficError(
            f"pod {metadata['name']} has no {family or 'IP'} address; it has {', '.join(addresses) or 'none'}",
            next_step="check that the pod runs and that the cluster's pod network has this IP family",
        )
    container = CONTAINER if len(spec["containers"]) > 1 else ""
    return Client(
        api, metadata["namespace"], metadata["name"], address, spec["nodeName"], deadlines, container=container
    )
