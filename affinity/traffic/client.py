"""A pod that sends requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from affinity.errors import TrafficError
from affinity.traffic import atonce, curl, schedule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from affinity.kube.api import Api
    from affinity.traffic.answers import Answers, Target

EXEC_SECONDS: Final = 10.0
"""What starting a command in a pod may take, on a machine that is not slow."""
NO_PROGRAM: Final = (126, 127)
"""What a shell ends with when it cannot run a program, and when there is none."""


@dataclass(frozen=True)
class Client:
    """A pod with curl; ``address`` is what the dataplane sees it by. May be shared by threads.

    ``slowness`` stretches what a request may take.
    """

    api: Api
    namespace: str
    pod: str
    address: str
    node: str
    slowness: float = 1.0

    @property
    def patience(self) -> curl.Patience:
        """How long one request may take."""
        return curl.Patience().scaled(self.slowness)

    def request(self, *targets: Target, count: int = 1) -> Answers:
        """Send ``count`` requests to each target in turn, every one on a new connection, in one exec.

        Raises TrafficError when the client could not send them; a request that fails is an answer with an error.
        """
        argv = ["curl", *curl.options(self.patience), *curl.urls(targets, count=count)]
        requests = len(targets) * count
        # Room for many requests to wait in vain: then the answers say that the Service is what is wrong.
        timeout = EXEC_SECONDS * self.slowness + self.patience.connect * min(requests, 30)
        return curl.require_new_connections(curl.parse(self._run(argv, timeout), requests))

    def request_at_once(self, target: Target, count: int, hold_seconds: float = 1.0) -> atonce.AtOnce:
        """Send requests over connections that are all open at the same time; raises TrafficError where they were not.

        Each is answered after ``hold_seconds``, stretched on a slow machine.
        """
        hold = hold_seconds * self.slowness
        argv = atonce.argv(target, count, hold, self.patience)
        timeout = EXEC_SECONDS * self.slowness + self.patience.total + hold
        return atonce.parse(self._run(argv, timeout), count, hold)

    def follow(self, steps: Sequence[schedule.Step]) -> tuple[schedule.StepAnswers, ...]:
        """Send requests at given moments, in one exec; raises TrafficError."""
        last = max(step.at + step.requests / (step.per_second or 100) for step in steps)
        timeout = last + 2 * EXEC_SECONDS * self.slowness + self.patience.total * 6
        return schedule.parse(self._run(schedule.argv(steps, self.patience), timeout), steps)

    def _run(self, argv: Sequence[str], timeout: float) -> str:
        ended = self.api.exec(self.namespace, self.pod, argv, timeout=timeout)
        if ended.returncode in NO_PROGRAM:
            raise TrafficError(
                f"{self.namespace}/{self.pod}: {ended.stderr.strip()[-300:] or 'a program is missing'}",
                next_step="the client's image needs sh and curl 7.88 or later",
            )
        return ended.stdout


def client_in(api: Api, pod: Mapping[str, Any], slowness: float = 1.0) -> Client:
    """Return the client that a running pod is; ``pod`` is as the API has it."""
    metadata, spec = pod["metadata"], pod["spec"]
    return Client(api, metadata["namespace"], metadata["name"], pod["status"]["podIP"], spec["nodeName"], slowness)
