"""Trials that are made from answers and affinity entries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from session_affinity.dataplane.backends import IPTABLES, NFTABLES
from session_affinity.dataplane.iptables import expected as iptables_expected
from session_affinity.dataplane.model import CLIENT_IP, Endpoint, ServicePort, ServiceState
from session_affinity.dataplane.nftables.table import Element, NftSet, Table
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.dataplane.xt_recent import Entry, RecentList
from session_affinity.scenarios.expiry.trials import EntryReads, Gap, Trial, make_trial
from session_affinity.traffic.answers import Answer, Answers, Target
from session_affinity.traffic.schedule import StepAnswers

CLIENT, HZ, START = "10.10.0.6", 250, 4295540812
ENDPOINTS = tuple(Endpoint(f"10.10.{number}.2", 80, f"webpod{number}") for number in (1, 2))
SERVICE = ServiceState(
    "default", "affinity-expired-a", ("10.200.1.5",), CLIENT_IP, 30, (ServicePort("web", "TCP", 9000, ENDPOINTS),)
)
OTHER_TARGET = Target("10.200.1.6", 9000)


def step(at: float, *connects: int, endpoint: str = "webpod1") -> StepAnswers:
    answers = [
        Answer(target, endpoint, 200, 40000, number, 0.001, "", at, at + 0.02)
        for number in connects
        for target in (Target("10.200.1.5", 9000), OTHER_TARGET)
    ]
    return StepAnswers(at, Answers(tuple(answers)))


def node(uptime: float, **seconds: tuple[float, ...]) -> NodeSnapshot:
    lists = {}
    for chain, endpoint in iptables_expected.endpoint_chains(SERVICE).items():
        ages = [START + round(second * HZ) for second in seconds.get(endpoint.pod, ())]
        entries = (Entry(CLIENT, 64, max(ages), len(ages), tuple(ages)),) if ages else ()
        lists[chain] = RecentList(chain, entries)
    return NodeSnapshot("myk8s-control-plane", lists=lists, uptime=uptime, jiffies=START)


def trial(during: NodeSnapshot, after: NodeSnapshot, *steps: StepAnswers) -> Trial:
    return make_trial(SERVICE, steps, EntryReads(CLIENT, IPTABLES, during, after, HZ))


def test_the_silence_is_exact_by_the_nodes_stamps() -> None:
    result = trial(node(126, webpod1=(0,)), node(132, webpod2=(31.01,)), step(100, 1), step(131, 1, endpoint="webpod2"))

    assert result.moved
    assert str(result.silence()) == "31.01 s"


def test_a_renewed_client_has_silences_since_each_contact() -> None:
    during, after = node(126, webpod1=(0, 10)), node(132, webpod1=(0, 10, 31))

    result = trial(during, after, step(100, 1), step(110, 1), step(131, 1))

    assert (str(result.silence()), str(result.silence(-3))) == ("21.00 s", "31.00 s")


def test_requests_on_an_open_connection_are_no_contacts() -> None:
    result = trial(node(126, webpod1=(0,)), node(132, webpod1=(0, 31)), step(100, 1, 0, 0, 0), step(131, 1))

    assert (len(result.contacts), result.reused, result.renewed) == (2, 3, False)


def test_more_stamps_than_connections_are_a_renewal() -> None:
    result = trial(node(126, webpod1=(0, 5, 10)), node(132, webpod1=(0, 5, 10, 31)), step(100, 1, 0), step(131, 1))

    assert result.renewed
    assert result.stamps is None


@pytest.mark.parametrize(
    ("seconds", "again", "renewed"),
    [
        pytest.param(0.01, 0.008, False, id="reset and sent again at once"),
        pytest.param(1.01, 1.0, False, id="sent again after a second"),
        pytest.param(1.01, 1.5, True, id="after the answer"),
    ],
)
def test_a_first_packet_that_was_sent_again_is_no_renewal(seconds: float, again: float, *, renewed: bool) -> None:
    (answer, *_) = step(100, 1).answers.answers
    slow = StepAnswers(100, Answers((replace(answer, seconds=seconds),)))

    result = trial(node(126, webpod1=(0, again)), node(132, webpod1=(0, again, 31)), slow, step(131, 1))

    assert result.renewed is renewed
    assert renewed or str(result.silence()) == f"{31 - again:.2f} s"


def test_lists_that_were_read_after_the_probe_do_not_count() -> None:
    result = trial(node(131.5, webpod1=(0, 31)), node(132, webpod1=(0, 31)), step(100, 1), step(131, 1))

    assert (result.stamps, result.renewed) == (None, False)
    assert result.silence() == Gap(131 - 100.02, 131.02 - 100)


def test_without_lists_the_clients_clock_bounds_the_silence() -> None:
    result = make_trial(SERVICE, [step(100, 1), step(129, 1)], EntryReads(CLIENT))

    assert str(result.silence()) == "28.98..29.02 s"


def node_with_sets(uptime: float, left: float) -> NodeSnapshot:
    (name, *_) = NFTABLES.affinity_stores(SERVICE)
    nft_set = NftSet(name, ("ipv4_addr",), 30, {(CLIENT,): Element((CLIENT,), None, left)})
    return NodeSnapshot("myk8s-control-plane", nftables=Table({name: nft_set}), uptime=uptime)


@pytest.mark.parametrize(("left", "renewed"), [(4, False), (5, True), (28, True)])
def test_more_time_left_than_the_connection_gave_is_a_renewal(left: float, *, renewed: bool) -> None:
    reads = EntryReads(CLIENT, NFTABLES, node_with_sets(126, left), node_with_sets(132, 29))

    result = make_trial(SERVICE, [step(100, 1, 0, 0), step(131, 1)], reads)

    assert result.renewed is renewed
    assert (result.stamps, str(result.silence())) == (None, "30.98..31.02 s")


def test_sets_that_were_read_after_the_probe_do_not_count() -> None:
    reads = EntryReads(CLIENT, NFTABLES, node_with_sets(131.5, 29), node_with_sets(132, 29))

    assert not make_trial(SERVICE, [step(100, 1), step(131, 1)], reads).renewed
