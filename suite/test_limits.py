"""Limits: full recent lists, the shortest timeout, and timeouts changed while clients are bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import API, IPTABLES, KUBE_PROXY, sources
from session_affinity.claims.known_behaviour import IPVS_SHORT_TIMEOUTS
from session_affinity.experiment import ALL_STAY, FREE_TRIALS
from session_affinity.plugin.claims import claim
from session_affinity.scenarios.limits.short_timeouts import LOWERED_TO, RAISED_FROM, RAISED_TO, SECOND
from session_affinity.verdicts.expiry import Window, judge_free, judge_kept
from session_affinity.verdicts.limits import judge_full_list, judge_return

if TYPE_CHECKING:
    from session_affinity.plugin.check import Check
    from session_affinity.scenarios.limits.full_list import FullList, ReturningClient
    from session_affinity.scenarios.limits.short_timeouts import ShortTimeouts

pytestmark = [pytest.mark.affinity, pytest.mark.limits]

LONG = 3600.0
"""In seconds: no test takes longer, so a window that ends here is open."""


@claim(
    "C24d",
    "A timeout of one second frees a client that was silent for longer",
    promised_by=API,
    source=sources.TIMEOUT_FIELD,
    false_alarm=ALL_STAY,
    known=(IPVS_SHORT_TIMEOUTS,),
)
def test_a_timeout_of_one_second_frees_a_client(short_timeouts: ShortTimeouts, check: Check) -> None:
    """One second is the shortest timeout of the API: a dataplane that polls expiry is wrong here first.

    Preconditions: 15 Service ports with ClientIP and one second over three endpoints.
    Steps: a request to each; another 2 s after the last of the answers.
    Expected: for at least one Service another endpoint answers the second than the first; all stay by chance with
        probability 3 ** -15.
    """
    verdict = judge_free(short_timeouts.free, Window(SECOND, LONG), least=FREE_TRIALS)

    check(verdict)


@claim(
    "C24g",
    "A timeout of one second keeps a client until the second is over",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
)
def test_a_timeout_of_one_second_keeps_a_client_until_it_is_over(short_timeouts: ShortTimeouts, check: Check) -> None:
    """Control for C24d. The kernel counts ticks; a dataplane that counts whole seconds keeps such a client by chance.

    Preconditions: 8 Service ports with ClientIP and one second over three endpoints.
    Steps: one after the other, a request to each, and another 0.4 s later.
    Expected: for every Service the endpoint of the first request answers the second.
    """
    verdict = judge_kept(short_timeouts.kept, Window(0, SECOND))

    check(verdict)


@claim(
    "C24e",
    "Lowering the timeout frees clients that were silent for longer at once",
    promised_by=KUBE_PROXY,
    source=sources.WRITE_RULES,
    modes=IPTABLES,
    false_alarm=ALL_STAY,
)
def test_lowering_the_timeout_frees_clients_that_were_silent_for_longer(
    short_timeouts: ShortTimeouts, check: Check
) -> None:
    """Operators lower the timeout to rebalance: the limit is in the rule, so it applies to existing entries at once.

    Preconditions: 15 Service ports with ClientIP and 10800 seconds over three endpoints, each with one request sent.
    Steps: when more than 2 s have passed, patch timeoutSeconds to 2; send a request to each as soon as the node has
        followed.
    Expected: for at least one Service another endpoint answers; all stay by chance with probability 3 ** -15.
    """
    verdict = judge_free(short_timeouts.lowered, Window(LOWERED_TO, LONG), least=FREE_TRIALS)

    check(verdict)


@claim(
    "C24f",
    "Raising the timeout keeps clients whose entries have not expired yet",
    promised_by=KUBE_PROXY,
    source=sources.WRITE_RULES,
    modes=IPTABLES,
)
def test_raising_the_timeout_keeps_clients_that_have_not_expired(short_timeouts: ShortTimeouts, check: Check) -> None:
    """Operators raise the timeout to keep sessions longer: it must apply to clients that are bound already.

    Preconditions: 6 Service ports with ClientIP and 4 seconds, each with one request sent.
    Steps: patch timeoutSeconds to 86400, the longest possible; when more than 4 s have passed since the request, send
        another to each.
    Expected: the endpoint of the first request answers, for every Service.
    """
    verdict = judge_kept(short_timeouts.raised, Window(RAISED_FROM, RAISED_TO))

    check(verdict)


@claim(
    "C37",
    "A full recent list replaces its least recently set client without notice",
    promised_by=KUBE_PROXY,
    source=sources.XT_RECENT,
    modes=IPTABLES,
)
def test_a_full_list_replaces_its_least_recently_set_client(full_list: FullList, check: Check) -> None:
    """Beyond 100 clients per endpoint and node, clients lose their affinity early, and nothing reports it.

    Preconditions: a Service with ClientIP; a client with an entry in one of its lists; the size of lists: 100, or what
        xt_recent was loaded with (ip_list_tot).
    Steps: set other addresses in that list until it is full; have the client send another request, and set one more
        address; set more until the client is the least recently set; set one more. Read the list each time.
    Expected: the full list has the client and all the others; then the other address set first is missing, and not the
        client, which was renewed; in the end the client is missing.
    """
    verdict = judge_full_list(full_list)

    check(verdict)


@claim(
    "C38",
    "Raising the timeout returns a client to an endpoint that it had left",
    promised_by=KUBE_PROXY,
    source=sources.XT_RECENT,
    modes=IPTABLES,
)
@pytest.mark.known_behaviour
def test_raising_the_timeout_returns_a_client_to_an_endpoint_that_it_had_left(
    returning_client: ReturningClient, check: Check
) -> None:
    """Raising the timeout under clients can move them in the middle of a session: known, surprising behaviour.

    An expired entry stays in its recent list; the raised timeout makes it valid again, and affinity rules match in
    endpoint order. Whoever relies on affinity should not raise a timeout under clients.

    Preconditions: a Service with ClientIP and 2 seconds; a client whose entry for the first endpoint in order has
        expired, and which is bound to the last one.
    Steps: 3 requests; patch timeoutSeconds to 10800; 3 requests.
    Expected: the last endpoint answers the first three requests, the first endpoint the others.
    """
    verdict = judge_return(returning_client)

    check(verdict)
