"""Timeouts of seconds, observed in one go: one of a single second, one that is lowered, and one that is raised.

The client is asked by schedules in its pod, as in the shared wait, so that its silences are as long as they should be.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.cluster_objects.services import DEFAULT_TIMEOUT, ServiceRequest
from session_affinity.dataplane.model import CLIENT_IP
from session_affinity.scenarios.expiry.trials import Trial, Watch, trial
from session_affinity.traffic.answers import target
from session_affinity.traffic.schedule import ScheduledRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.dataplane.model import ServiceState
    from session_affinity.testbed.testbed import SyncResult, Testbed
    from session_affinity.traffic.schedule import StepAnswers

TRIALS: Final = 20
"""Services whose clients choose anew."""
KEPT_TRIALS: Final = 6
SECOND: Final = 1
SOON: Final = 0.4
"""When a client is asked again that must be kept for a second, in seconds after the first time."""
OVER: Final = 2.0
"""When it must be free: a second after that and more."""
LOWERED_TO: Final = 2
RAISED_FROM: Final = 4
RAISED_TO: Final = 86400
RAISED_AT: Final = RAISED_FROM + 1.0
"""When a client is asked again whose timeout was raised meanwhile."""


@dataclass(frozen=True)
class ShortWaits:
    """What was seen: trials of one second, before it was over and after; of a lowered and of a raised timeout.

    The latter are empty where a dataplane keeps the old expiry of clients it knows. ``sync`` says how the client's
    node followed the patches.
    """

    kept: tuple[Trial, ...]
    free: tuple[Trial, ...]
    lowered: tuple[Trial, ...] = ()
    raised: tuple[Trial, ...] = ()
    sync: SyncResult | None = None


def observe(testbed: Testbed) -> ShortWaits:
    """Make the Services, ask them, and patch those whose timeouts change; raises SuiteError.

    Timeouts are patched where they are in the rules, and not where each client known has its own.
    """
    client = testbed.client
    patches = testbed.reads_rules and testbed.backend.counts_connections
    second = [ServiceRequest("second", CLIENT_IP, SECOND)] * TRIALS
    lowered = [ServiceRequest("lowered", CLIENT_IP, DEFAULT_TIMEOUT)] * (TRIALS if patches else 0)
    raised = [ServiceRequest("raised", CLIENT_IP, RAISED_FROM)] * (KEPT_TRIALS if patches else 0)
    since = time.monotonic()
    made = testbed.services.create_all([*second, *lowered, *raised])
    seconds, down, up = made[:TRIALS], made[TRIALS : 2 * TRIALS or None], made[2 * TRIALS :]
    try:
        testbed.wait_for_client_sync(*made, since=since)
        first, again, over = client.follow([_step(0, made), _step(SOON, seconds), _step(OVER, seconds)])
        watch = Watch(client.address)
        kept = tuple(trial(one, (first, again), watch) for one in seconds)
        free = tuple(trial(one, (again, over), watch) for one in seconds)
        if not patches:
            return ShortWaits(kept, free)
        since = time.monotonic()
        down = testbed.services.patch_timeouts(down, LOWERED_TO)
        up = testbed.services.patch_timeouts(up, RAISED_TO)
        sync = testbed.wait_for_sync(*down, *up, since=since, nodes=(client.node,))
        wait = max(first.began + RAISED_AT - client.uptime(), 0.0)
        later = client.follow([_step(0, down), _step(wait, up)])
        return ShortWaits(
            kept,
            free,
            tuple(_trial(one, first, later[0]) for one in down),
            tuple(_trial(one, first, later[1]) for one in up),
            sync,
        )
    finally:
        for service in made:
            testbed.services.delete(service)


def _step(at: float, services: Sequence[ServiceState]) -> ScheduledRequest:
    return ScheduledRequest(at, tuple(map(target, services)))


def _trial(service: ServiceState, *steps: StepAnswers) -> Trial:
    return trial(service, steps, Watch(""))
