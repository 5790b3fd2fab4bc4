"""Expiry of affinity entries: all claims are judged from one wait for the 30 s timeout, which the whole run shares.

The wait begins before the first test, with Services of its own for each claim. Clients connect for the first time after
the timeout was patched, except those of C22, C22n and C25: in nftables mode a client that was bound before the patch
keeps its old expiry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import API, BOTH_MODES, IPTABLES, KUBE_PROXY, NFTABLES, sources
from session_affinity.claims.known_behaviour import IPVS_SHORT_TIMEOUTS
from session_affinity.cluster_objects.services import DEFAULT_TIMEOUT
from session_affinity.experiment import ALL_STAY
from session_affinity.plugin.claims import claim
from session_affinity.scenarios.expiry.plan import TIMEOUT_SECONDS, Group
from session_affinity.verdicts.expiry import (
    Window,
    after_traffic,
    judge_free,
    judge_kept,
    judge_no_renewal_by_traffic,
    judge_renewed,
    just_after,
    just_before,
)
from session_affinity.verdicts.timeout_patch import (
    judge_expired_elements,
    judge_expired_entries,
    judge_old_expiry,
    judge_timeout_patch,
)

if TYPE_CHECKING:
    from session_affinity.dataplane.backend import Backend
    from session_affinity.plugin.check import Check
    from session_affinity.scenarios.expiry.shared_wait import Observations
    from session_affinity.traffic.client import Client

pytestmark = [pytest.mark.affinity, pytest.mark.expiry]


@claim(
    "C22",
    "A patched timeout reaches every node and keeps existing affinity entries",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_a_patched_timeout_reaches_every_node_and_keeps_the_entries(
    client: Client, backend: Backend, expiry: Observations, check: Check
) -> None:
    """Operators patch timeouts on running Services; the patch must not unbind the clients that are there.

    Preconditions: Service ports with ClientIP and 10800 seconds that have an affinity entry of a client.
    Steps: patch timeoutSeconds to 30 in place; read the rules, and the lists or sets, of every node, and the rules
        again once the timeout has passed.
    Expected: every rcheck rule, or every set, has 30 seconds, on every node, both times; the client keeps its entry,
        with the stamps it had in a list.
    """
    patch = expiry.timeout_patch()

    verdict = judge_timeout_patch(backend, patch, client.id)

    check(verdict)


@claim(
    "C22n",
    "Under nftables a client bound before a timeout patch keeps its old expiry until its next connection",
    promised_by=KUBE_PROXY,
    source=sources.NFT_DYNSET,
    modes=NFTABLES,
)
def test_a_client_bound_before_a_patch_keeps_its_old_expiry(client: Client, expiry: Observations, check: Check) -> None:
    """A lowered timeout takes effect late: silent clients stay bound for the old timeout, up to a day.

    Preconditions: 15 Service ports with ClientIP over three endpoints, each with a request sent before its timeout was
        patched from 10800 to 30 seconds.
    Steps: once 30 s have passed, read the sets of the client's node; send a request to each; read the sets
        again.
    Expected: every element is still there with more than 30 s left, and the endpoint that answered before answers
        again; after that every element has at most 30 s left.
    """
    verdict = judge_old_expiry(expiry.silent_clients(), client.id)

    check(verdict)


@claim(
    "C23",
    "A silent client stays bound until just before the timeout",
    promised_by=API,
    source=sources.TIMEOUT_FIELD,
)
def test_a_silent_client_stays_bound_until_just_before_the_timeout(
    expiry: Observations, check: Check, deadline_scale: float
) -> None:
    """Sessions must last as long as configured; also the control for C24, where the same clients are free.

    Preconditions: 6 Service ports with ClientIP, patched in place from 10800 to 30 seconds.
    Steps: a request to each; another 28 s later.
    Expected: the same endpoint answers, for every Service.
    """
    trials = expiry.of(Group.KEPT)

    verdict = judge_kept(trials, just_before(TIMEOUT_SECONDS, deadline_scale))

    check(verdict)


@claim(
    "C24",
    "A silent client is free just after the timeout",
    promised_by=API,
    source=sources.TIMEOUT_FIELD,
    false_alarm=ALL_STAY,
    known=(IPVS_SHORT_TIMEOUTS,),
)
def test_a_silent_client_is_free_just_after_the_timeout(
    expiry: Observations, check: Check, deadline_scale: float
) -> None:
    """Affinity that never expires keeps clients on old pods for good, and load never spreads again.

    Preconditions: 15 Service ports with ClientIP over three endpoints, patched in place from 10800 to 30 seconds.
    Steps: a request to each; another 31 s later.
    Expected: another endpoint answers for at least one Service; all stay by chance with probability 3 ** -15.
    """
    trials = expiry.of(Group.EXPIRED)

    verdict = judge_free(trials, just_after(TIMEOUT_SECONDS, deadline_scale))

    check(verdict)


@claim(
    "C24b",
    "Every new connection renews the timeout",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
)
def test_every_new_connection_renews_the_timeout(expiry: Observations, check: Check) -> None:
    """The timeout counts from the last connection: an active client does not lose its session after a fixed time.

    The API speaks of a maximum time and does not say when it begins.

    Preconditions: 6 Service ports with ClientIP, patched in place from 10800 to 30 seconds.
    Steps: a request to each; another 10 s later; another 31 s after the first.
    Expected: the same endpoint answers the last request, for every Service.
    """
    trials = expiry.of(Group.SLIDING)

    verdict = judge_renewed(trials, TIMEOUT_SECONDS)

    check(verdict)


@claim(
    "C24c",
    "Traffic on an open connection does not renew the timeout",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
    false_alarm=ALL_STAY,
    known=(IPVS_SHORT_TIMEOUTS,),
)
def test_traffic_on_an_open_connection_does_not_renew_the_timeout(expiry: Observations, check: Check) -> None:
    """A long-lived connection does not keep its client bound: the next connection may reach another pod.

    Preconditions: 15 Service ports with ClientIP over three endpoints, patched in place from 10800 to 30 seconds.
    Steps: a request to each on a connection that stays open; more requests on it for 22 s; a request on a new
        connection 31 s after the first.
    Expected: the entry of a list keeps its one stamp, or the element of a set its expiry, while data flows; for at
        least one Service another endpoint answers the last request; all stay by chance with probability 3 ** -15.
    """
    trials = expiry.of(Group.OPEN)

    verdict = judge_no_renewal_by_traffic(trials, after_traffic(TIMEOUT_SECONDS))

    check(verdict)


@claim(
    "C25",
    "An expired entry stays in its recent list but binds no client",
    promised_by=KUBE_PROXY,
    source=sources.XT_RECENT,
    modes=IPTABLES,
    false_alarm=ALL_STAY,
)
def test_an_expired_entry_stays_listed_but_binds_no_client(client: Client, expiry: Observations, check: Check) -> None:
    """Who reads /proc/net/xt_recent must compare stamps: an address in a list is not proof of affinity.

    Preconditions: 15 Service ports with ClientIP over three endpoints, each with a request sent before its timeout was
        patched from 10800 to 30 seconds.
    Steps: once 30 s have passed, read the lists of the client's node; then send a request to each.
    Expected: every entry is still listed, yet for at least one Service another endpoint answers; all stay by chance
        with probability 3 ** -15.
    """
    verdict = judge_expired_entries(expiry.silent_clients(), client.id, expiry.hz)

    check(verdict)


@claim(
    "C25n",
    "A client's element leaves its set when the timeout has passed",
    promised_by=KUBE_PROXY,
    source=sources.NFT_DYNSET,
    modes=NFTABLES,
)
def test_a_clients_element_leaves_its_set_when_the_timeout_has_passed(
    client: Client, expiry: Observations, check: Check
) -> None:
    """Elements that never expire fill the set; once it is full, new clients are not bound at all.

    Preconditions: 3 Service ports with ClientIP, patched in place from 10800 to 30 seconds.
    Steps: a request to each; read the sets of the client's node 20 s later, and once 30 s have passed.
    Expected: first one element of the client in one set of each Service, with the remainder of its 30 s left; then
        none.
    """
    verdict = judge_expired_elements(expiry.expired_elements(), client.id)

    check(verdict)


@claim(
    "C53",
    "A Service left at 10800 seconds keeps its clients while those at 30 seconds expire",
    promised_by=API,
    source=sources.TIMEOUT_FIELD,
)
def test_a_service_left_at_10800_seconds_keeps_its_clients(expiry: Observations, check: Check) -> None:
    """Control for all claims about expiry: clients moved because of the timeout, not because of the waiting.

    Preconditions: 6 Service ports with ClientIP and 10800 seconds.
    Steps: a request to each; another 31 s later.
    Expected: the same endpoint answers, for every Service.
    """
    trials = expiry.of(Group.CONTROL)

    verdict = judge_kept(trials, Window(TIMEOUT_SECONDS, DEFAULT_TIMEOUT))

    check(verdict)
