"""A pod that sends requests."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from session_affinity import recorder
from session_affinity.dataplane.model import family_of
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import TrafficError
from session_affinity.kube import pod_state
from session_affinity.traffic import at_once, curl, datagrams, schedule
from session_affinity.traffic import stream as streams

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from session_affinity.dataplane.model import Family
    from session_affinity.kube.api import Api
    from session_affinity.traffic.answers import Answers, Target

CONTAINER: Final = "client"
NO_PROGRAM: Final = (126, 127)
"""What a shell ends with when it cannot run a program, and when there is none."""


class ClientId(NamedTuple):
    """Which client a verdict is about: its pod, the address that nodes see it by, and its node."""

    pod: str
    address: str
    node: str

    def __str__(self) -> str:
        return f"{self.pod} ({self.address} on {self.node})"


@dataclass(frozen=True)
class Client:
    """A pod with curl; ``address`` is what the dataplane sees it by. May be shared by threads.

    ``share`` is the part of the usual time that one request is given. ``container`` is empty in a pod that has one.
    """

    api: Api
    namespace: str
    pod: str
    address: str
    node: str
    deadlines: Deadlines = DEFAULTS
    share: float = 1.0
    container: str = ""

    @property
    def id(self) -> ClientId:
        """Pod, address and node of the client."""
        return ClientId(self.pod, self.address, self.node)

    @property
    def patience(self) -> curl.Patience:
        """How long one request may take."""
        return curl.Patience().scaled(self.deadlines.scale * self.share)

    @property
    def impatient(self) -> Client:
        """The same client, waiting a quarter of the time: for requests that are not to be answered."""
        return replace(self, share=self.share / 4)

    def request(self, *targets: Target, count: int = 1, name: str = "answers") -> Answers:
        """Send ``count`` requests to each target in turn, every one on a new connection, in one exec.

        ``name`` heads the round in the report. Raises TrafficError when the client could not send them; a request that
        fails is an answer with an error.
        """
        argv = ["curl", *curl.options(self.patience), *curl.urls(targets, count=count)]
        requests = len(targets) * count
        # Room for many requests to wait in vain: then the answers say that the Service is what is wrong.
        timeout = self.deadlines.exec_start + self.patience.connect * min(requests, 30)
        began = time.time()
        answers = curl.require_new_connections(curl.parse(self._run(argv, timeout), requests))
        recorder.record(recorder.RequestRound(self.pod, self.address, self.node, answers, name), since=began)
        return answers

    def request_at_once(self, target: Target, count: int, hold_seconds: float = 1.0) -> at_once.AtOnce:
        """Send requests over connections that are all open at the same time; raises TrafficError where they were not.

        Each is answered after ``hold_seconds``, stretched on a slow machine.
        """
        hold = hold_seconds * self.deadlines.scale
        argv = at_once.argv(target, count, hold, self.patience)
        timeout = self.deadlines.exec_start + self.patience.total + hold
        began = time.time()
        found = at_once.parse(self._run(argv, timeout), count, hold)
        round_ = recorder.RequestRound(self.pod, self.address, self.node, found.answers, "answers at once")
        recorder.record(round_, since=began)
        return found

    def follow(self, steps: Sequence[schedule.ScheduledRequest]) -> tuple[schedule.StepAnswers, ...]:
        """Send requests at given moments, in one exec; raises TrafficError."""
        last = max(step.at + step.requests / (step.per_second or 100) for step in steps)
        timeout = last + 2 * self.deadlines.exec_start + self.patience.total * 6
        return schedule.parse(self._run(schedule.argv(steps, self.patience), timeout), steps)

    def stream(self, target: Target) -> streams.Stream:
        """Begin to send requests to a target that go on until they are told to stop; raises ExecError."""
        running = self.api.start(
            self.namespace, self.pod, streams.argv(target, self.patience), container=self.container
        )
        return streams.Stream(target, running, self.patience.total)

    def uptime(self) -> float:
        """Return the moment by the clock that answers are dated by, in seconds; raises TrafficError."""
        said = self._run(("cat", "/proc/uptime"), self.deadlines.exec_start).split()
        if not said:
            raise TrafficError(f"{self.namespace}/{self.pod}: /proc/uptime says nothing")
        return float(said[0])

    def exchange(self, *rounds: datagrams.Round) -> tuple[Answers, ...]:
        """Send rounds of datagrams, in one exec, and return the answers of each; raises TrafficError."""
        timeout = self.deadlines.exec_start + sum(one.pause for one in rounds)
        timeout += self.patience.connect * min(sum(len(one.sent_to) for one in rounds), 30)
        began = time.time()
        found = datagrams.parse(self._run(datagrams.argv(rounds, self.patience.connect), timeout), rounds)
        for round_, answers in zip(rounds, found, strict=True):
            recorder.record(recorder.RequestRound(self.pod, self.address, self.node, answers, round_.name), since=began)
        return found

    def _run(self, argv: Sequence[str], timeout: float) -> str:
        ended = self.api.exec(self.namespace, self.pod, argv, timeout=timeout, container=self.container)
        if ended.returncode in NO_PROGRAM:
            raise TrafficError(
                f"{self.namespace}/{self.pod}: {ended.stderr.strip()[-300:] or 'a program is missing'}",
                next_step="the client's image needs sh, bash and curl 7.88 or later",
            )
        return ended.stdout


def client_in(
    api: Api, pod: Mapping[str, Any], deadlines: Deadlines = DEFAULTS, *, family: Family | None = None
) -> Client:
    """Return the client that a running pod is; ``pod`` is as the API has it.

    Its address is that of an IP family, or the primary one; raises TrafficError when it has none of that family. Of
    several containers it is the one of that role (see ``pods.Role``).
    """
    metadata, spec = pod["metadata"], pod["spec"]
    addresses = pod_state.addresses(pod)
    found = next((one for one in addresses if family in (None, family_of(one))), None)
    if found is None:
        raise TrafficError(
            f"pod {metadata['name']} has no address of {family or 'any family'}, only {', '.join(addresses) or 'none'}"
        )
    container = CONTAINER if len(spec["containers"]) > 1 else ""
    return Client(api, metadata["namespace"], metadata["name"], found, spec["nodeName"], deadlines, container=container)
