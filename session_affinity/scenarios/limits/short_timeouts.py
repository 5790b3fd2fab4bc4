"""Timeouts of a few seconds: one second, a lowered timeout, and a raised one, all observed in the same seconds.

Requests are scheduled in the client's pod, as in the shared wait, so that its silences have the right length.
"""

from __future__ import annotations

import itertools
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.cluster_objects.services import DEFAULT_TIMEOUT
from session_affinity.experiment import FREE_TRIALS
from session_affinity.scenarios.background import in_background
from session_affinity.scenarios.expiry import service_ports
from session_affinity.scenarios.expiry.service_ports import each_port
from session_affinity.scenarios.expiry.trials import EntryReads, Trial, make_trial
from session_affinity.traffic.answers import target
from session_affinity.traffic.schedule import ScheduledRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from session_affinity.dataplane.model import ServiceState
    from session_affinity.testbed.testbed import SyncResult, Testbed
    from session_affinity.traffic.client import Client
    from session_affinity.traffic.schedule import StepAnswers

KEPT_TRIALS: Final = 6
"""Ports of Services with a raised timeout, whose clients must be kept."""
SECOND: Final = 1
SOON_TRIALS: Final = 8
"""Ports of Services with a timeout of one second whose second client must be kept."""
SOON: Final = 0.4
"""How long a client that must be kept for a second is silent, in seconds."""
OVER: Final = 2.0
"""When a client must be free that is silent for so many seconds, counted from the last of all first answers."""
LOWERED_TO: Final = 2
RAISED_FROM: Final = 4
RAISED_TO: Final = 86400
RAISED_AT: Final = RAISED_FROM + 0.5
"""When the second request is sent to a Service with a raised timeout, counted likewise: the former timeout is over."""


@dataclass(frozen=True)
class ShortTimeouts:
    """Trials of a timeout of one second, of a shorter and a longer silence, and of a lowered and a raised timeout.

    ``lowered`` and ``raised`` are empty if the dataplane keeps the expiry of existing entries. ``sync`` is the sync of
    the client's node after these patches.
    """

    kept: tuple[Trial, ...]
    free: tuple[Trial, ...]
    lowered: tuple[Trial, ...] = ()
    raised: tuple[Trial, ...] = ()
    sync: SyncResult | None = None


def observe(testbed: Testbed, second: Client) -> ShortTimeouts:
    """Create the Services, send requests to them, and patch the timeouts that change; raises SuiteError.

    ``second`` is another client on the client's node: its affinity entries are its own, so that it is kept by Services
    that free the first one. Timeouts are patched only in modes whose rules contain the timeout (iptables), not if each
    entry has its own expiry.
    """
    client = testbed.client
    patches = testbed.reads_rules and testbed.backend.counts_connections
    brief = service_ports.requests(testbed, "second", SECOND, FREE_TRIALS)
    lowered = service_ports.requests(testbed, "lowered", DEFAULT_TIMEOUT, FREE_TRIALS if patches else 0)
    raised = service_ports.requests(testbed, "raised", RAISED_FROM, KEPT_TRIALS if patches else 0)
    since = time.monotonic()
    created = testbed.services.create_all([*brief, *lowered, *raised])
    rest = iter(created)
    late = each_port(itertools.islice(rest, len(brief)))
    down, up = list(itertools.islice(rest, len(lowered))), list(rest)
    soon = late[:SOON_TRIALS]
    try:
        testbed.wait_for_client_sync(*created, since=since)
        pairs_of_second: Future[tuple[StepAnswers, ...]] = Future()
        in_background("second client's requests", lambda: second.follow(list(_pairs(soon))), pairs_of_second)
        (first,) = client.follow([_step(0, [*each_port([*down, *up]), *late])])
        # On a busy machine the first requests take seconds, and those to the last port are the last.
        answered = max((answer.not_after or first.began for answer in first.answers), default=first.began)
        (over,) = client.follow([_step(OVER, late)], start=answered)
        pairs = pairs_of_second.result()
        kept = tuple(_trial(port, *pair) for port, pair in zip(soon, itertools.pairwise(pairs), strict=True))
        free = tuple(_trial(port, first, over) for port in late)
        if not patches:
            return ShortTimeouts(kept, free)
        since = time.monotonic()
        down = testbed.services.patch_timeouts(down, LOWERED_TO)
        up = testbed.services.patch_timeouts(up, RAISED_TO)
        sync = testbed.wait_for_sync(*down, *up, since=since, nodes=(client.node,))
        ports_down, ports_up = each_port(down), each_port(up)
        later = client.follow([_step(0, ports_down), _step(RAISED_AT, ports_up)], start=answered)
        return ShortTimeouts(
            kept,
            free,
            tuple(_trial(port, first, later[0]) for port in ports_down),
            tuple(_trial(port, first, later[1]) for port in ports_up),
            sync,
        )
    finally:
        for service in created:
            testbed.services.delete(service)


def _pairs(ports: Sequence[ServiceState]) -> Iterator[ScheduledRequest]:
    """Yield requests, two to each port: what those to many ports take is no silence of one.

    Each step but the first begins with the second request to a port, and goes on with the first one to the next.
    """
    for number, pair in enumerate(itertools.pairwise([None, *ports, None]), 1):
        yield _step(number * SOON, [port for port in pair if port])


def _step(at: float, ports: Sequence[ServiceState]) -> ScheduledRequest:
    return ScheduledRequest(at, tuple(map(target, ports)))


def _trial(port: ServiceState, *steps: StepAnswers) -> Trial:
    """Return a trial that has the client's clock only: nodes are not read between requests that follow so closely."""
    return make_trial(port, steps, EntryReads(""))
