"""What happens at the limits: many clients, short timeouts, and timeouts that are changed under clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import API, IPTABLES, KUBE_PROXY, sources
from session_affinity.experiment import SHORT_FALSE_ALARM
from session_affinity.plugin.claims import claim
from session_affinity.scenarios.limits.full_list import come_back, fill_list
from session_affinity.scenarios.limits.short_timeouts import LOWERED_TO, RAISED_FROM, RAISED_TO, SECOND, TRIALS
from session_affinity.verdicts.expiry import Window, judge_free, judge_kept
from session_affinity.verdicts.limits import judge_full_list, judge_return
from session_affinity.verdicts.verdict import combine

if TYPE_CHECKING:
    from session_affinity.plugin.check import Check
    from session_affinity.scenarios.limits.short_timeouts import ShortWaits
    from session_affinity.testbed.testbed import Testbed

pytestmark = [pytest.mark.affinity, pytest.mark.limits]

LONG = 3600.0


@claim(
    "C24d",
    "A client is kept for one second and free after it",
    promised_by=API,
    source=sources.TIMEOUT_FIELD,
    false_alarm=SHORT_FALSE_ALARM,
)
def test_a_client_is_kept_for_one_second_and_free_after_it(short_waits: ShortWaits, check: Check) -> None:
    """A client is kept for one second and free after it: the shortest timeout there is.

    Preconditions: 20 Services with ClientIP and one second over three endpoints.
    Steps: a request to each; another 0.4 s later; another 1.6 s after that.
    Expected: the second is answered by the endpoint of the first, for every Service; for at least one Service another
        endpoint answers the third; all staying by chance has probability 3 ** -20.
    """
    verdict = combine(
        judge_kept(short_waits.kept, Window(0, SECOND)),
        judge_free(short_waits.free, Window(SECOND, LONG), least=TRIALS),
    )

    check(verdict)


@claim(
    "C24e",
    "A lowered timeout frees clients that were silent for longer at once",
    promised_by=KUBE_PROXY,
    source=sources.WRITE_RULES,
    modes=IPTABLES,
    false_alarm=SHORT_FALSE_ALARM,
)
def test_a_lowered_timeout_frees_clients_that_were_silent_for_longer(short_waits: ShortWaits, check: Check) -> None:
    """A lowered timeout frees clients that were silent for longer at once.

    Preconditions: 20 Services with ClientIP and 10800 seconds over three endpoints, each asked once.
    Steps: when more than 2 s have passed, patch timeoutSeconds to 2; a request to each as soon as the node has it.
    Expected: for at least one Service another endpoint answers; all staying by chance has probability 3 ** -20.
    """
    verdict = judge_free(short_waits.lowered, Window(LOWERED_TO, LONG), least=TRIALS)

    check(verdict)


@claim(
    "C24f",
    "A raised timeout keeps clients that it reaches in time",
    promised_by=KUBE_PROXY,
    source=sources.WRITE_RULES,
    modes=IPTABLES,
)
def test_a_raised_timeout_keeps_clients_that_it_reaches_in_time(short_waits: ShortWaits, check: Check) -> None:
    """A raised timeout keeps clients that it reaches in time.

    Preconditions: 6 Services with ClientIP and 4 seconds, each asked once.
    Steps: patch timeoutSeconds to 86400, the longest there is; when more than 4 s have passed since, a request to each.
    Expected: the endpoint of the first request answers, for every Service.
    """
    verdict = judge_kept(short_waits.raised, Window(RAISED_FROM, RAISED_TO))

    check(verdict)


@claim(
    "C37",
    "The client after the hundredth takes the place of the least recent one",
    promised_by=KUBE_PROXY,
    source=sources.XT_RECENT,
    modes=IPTABLES,
)
def test_a_full_list_gives_up_the_least_recent_client(testbed: Testbed, check: Check) -> None:
    """The client after the hundredth takes the place of the least recent one, and nobody says so.

    Preconditions: a Service with ClientIP; a client that asked it, and so is in one of its lists; the size of lists,
        100 unless the kernel's xt_recent was loaded with another.
    Steps: set others in that list until it is full; have the client ask again, and set one more; set others until the
        client is the least recent one; set one more. Read the list each time.
    Expected: full, the list has the client and all the others; then the other set first is missing, not the client,
        which was renewed; at last the client is.
    """
    verdict = judge_full_list(fill_list(testbed))

    check(verdict)


@claim(
    "C38",
    "A raised timeout takes a client back to an endpoint it had left",
    promised_by=KUBE_PROXY,
    source=sources.XT_RECENT,
    modes=IPTABLES,
)
@pytest.mark.known_behaviour
def test_a_raised_timeout_takes_a_client_back_to_an_endpoint_it_had_left(testbed: Testbed, check: Check) -> None:
    """A raised timeout takes a client back to an endpoint it had left.

    This is how it is, not how it should be: an expired entry stays listed, the raised timeout makes it valid again, and
    rules are asked in the order of endpoints. Who relies on affinity should not raise a timeout under clients.

    Preconditions: a Service with ClientIP and 2 seconds; a client whose time at the first endpoint in order is over,
        and which is bound to the last one.
    Steps: 3 requests; patch timeoutSeconds to 10800; 3 requests.
    Expected: the last endpoint answers the first three, the first one the others.
    """
    verdict = judge_return(come_back(testbed))

    check(verdict)
