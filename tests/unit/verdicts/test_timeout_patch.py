"""What nodes hold when a timeout was patched, and when it is over."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane.backends import IPTABLES, NFTABLES
from session_affinity.dataplane.iptables import compare as iptables_compare
from session_affinity.dataplane.proxy_config import ProxyConfig
from session_affinity.errors import NotReadyError
from session_affinity.scenarios.expiry.shared_wait import ExpiredElements, SilentClients, TimeoutPatch
from session_affinity.testbed.testbed import SyncResult
from session_affinity.verdicts.expiry import UntimelyError
from session_affinity.verdicts.timeout_patch import (
    judge_expired_elements,
    judge_expired_entries,
    judge_old_expiry,
    judge_timeout_patch,
)
from tests.unit.verdicts.conftest import CLIENT_ID, explained

if TYPE_CHECKING:
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from tests.unit.verdicts.conftest import World

CLIENT, HOME, WORKER = "10.10.0.6", "myk8s-control-plane", "myk8s-worker2"
HZ = 250
PROXY = ProxyConfig("iptables", "10.10.0.0/16")


def patch(world: World, before: NodeSnapshot, after: NodeSnapshot, bad: NodeSnapshot | None = None) -> TimeoutPatch:
    states = {HOME: replace(after, ruleset=world.programmed(HOME).ruleset), WORKER: bad or world.programmed(WORKER)}
    differences = {
        name: iptables_compare.compare(name, world.service, PROXY, state.ruleset) for name, state in states.items()
    }
    seconds = {name: 0.8 for name, found in differences.items() if not found}
    late = {name: (world.service,) for name, found in differences.items() if found}
    sync = SyncResult((world.service,), states, seconds, differences, late, 10.2)
    return TimeoutPatch((world.service,), {HOME: before}, sync, dict.fromkeys(states, ()))


def test_a_patch_that_arrived_and_kept_the_entries_holds(world: World) -> None:
    node = world.node(HOME, {0: {CLIENT: (5,)}})

    verdict = judge_timeout_patch(IPTABLES, patch(world, node, node), CLIENT_ID)

    assert verdict.ok
    assert verdict.headline == "30 s on 2 of 2 nodes, 1 of 1 entries kept"


def test_a_node_the_patch_did_not_reach_is_named(world: World) -> None:
    node = world.node(HOME, {0: {CLIENT: (5,)}})
    stale = world.programmed(WORKER, replace=("--seconds 30", "--seconds 10800"))

    text = explained(judge_timeout_patch(IPTABLES, patch(world, node, node, stale), CLIENT_ID))

    assert text.startswith("C16 does not hold on myk8s-worker2: 30 s on 1 of 2 nodes, 1 of 1 entries kept")
    assert "seen: those of 1 are not; is kube-proxy running there?" in text
    assert "rule 2: --seconds 10800, expected 30 (Service default/affinity-sticky-x7k2p, timeoutSeconds 30)" in text
    assert "read 10.2 s after the patch; programmed: myk8s-control-plane 0.80 s" in text


def test_an_entry_that_the_patch_lost_does_not_hold(world: World) -> None:
    before, after = world.node(HOME, {0: {CLIENT: (5,)}}), world.node(HOME)

    text = explained(judge_timeout_patch(IPTABLES, patch(world, before, after), CLIENT_ID))

    assert f"expected: {CLIENT} in {world.chains[0]}, as before" in text
    assert "seen: in no list, 0 entries" in text


def rest(world: World, age: int, probes: list[str], *, listed: bool = True) -> SilentClients:
    at_end = world.node(HOME, {0: {CLIENT: (age,)}} if listed else {})
    services = (world.service,) * len(probes)
    return SilentClients(services, world.answers(*["webpod1"] * len(probes)), at_end, world.answers(*probes))


def test_listed_entries_that_bind_no_one_hold(world: World) -> None:
    verdict = judge_expired_entries(rest(world, 36, ["webpod1"] * 14 + ["webpod3"]), CLIENT_ID, HZ)

    assert verdict.ok
    assert verdict.headline == "15 listed 36.00 s after, 1 of 15 moved"


def test_expired_entries_that_bind_do_not_hold(world: World) -> None:
    verdict = judge_expired_entries(rest(world, 36, ["webpod1"] * 15), CLIENT_ID, HZ)

    assert "seen: all answered by the endpoint of their expired entry" in explained(verdict)


def test_an_expired_entry_that_is_gone_does_not_hold(world: World) -> None:
    verdict = judge_expired_entries(rest(world, 36, ["webpod2"], listed=False), CLIENT_ID, HZ)

    assert "expected: the entry of 10.10.0.6" in explained(verdict)


def test_an_entry_that_is_not_yet_expired_is_no_evidence(world: World) -> None:
    with pytest.raises(UntimelyError, match=r"29\.00 s after its last connection"):
        judge_expired_entries(rest(world, 29, ["webpod2"]), CLIENT_ID, HZ)


# Sets: an element has its own expiry, and is gone when that is over.


def test_a_patch_keeps_elements_where_they_are(world: World) -> None:
    before, after = world.node_with_sets(HOME, {0: {CLIENT: 10790}}), world.node_with_sets(HOME, {0: {CLIENT: 10789}})
    sync = SyncResult((world.service,), {HOME: after}, {HOME: 0.8}, {HOME: ()}, {}, 0.8)
    moved = replace(sync, states={HOME: world.node_with_sets(HOME, {1: {CLIENT: 10789}})})

    assert judge_timeout_patch(NFTABLES, TimeoutPatch((world.service,), {HOME: before}, sync, {HOME: ()}), CLIENT_ID).ok
    text = explained(judge_timeout_patch(NFTABLES, TimeoutPatch((world.service,), {HOME: before}, moved), CLIENT_ID))
    first, second, _ = NFTABLES.affinity_stores(world.service)
    assert f"expected: {CLIENT} in {first}, as before" in text
    assert f"seen: in {second}, 1 entries" in text


def old_rest(
    world: World, left: float | None, renewed: float | None, *probes: str, uptime: float = 1000.0
) -> SilentClients:
    first, probed_answers = (
        replace(answers, answers=tuple(replace(answer, not_before=at, not_after=at + 0.01) for answer in answers))
        for answers, at in ((world.answers(*["webpod1"] * len(probes)), 960.0), (world.answers(*probes), 1001.0))
    )
    at_end = world.node_with_sets(HOME, {0: {CLIENT: left}} if left is not None else {}, uptime=uptime)
    probed = world.node_with_sets(HOME, {0: {CLIENT: renewed}} if renewed is not None else {})
    return SilentClients((world.service,) * len(probes), first, at_end, probed_answers, probed)


def test_elements_that_keep_their_expiry_until_a_connection_hold(world: World) -> None:
    verdict = judge_old_expiry(old_rest(world, 10759, 29, *["webpod1"] * 15), CLIENT_ID)

    assert verdict.ok
    assert verdict.headline == "10759 s left after 30 s, 29 s after a connection"


@pytest.mark.parametrize(
    ("left", "renewed", "probe", "says"),
    [
        (None, 29, "webpod1", "with more than 30 s left, from before the patch"),
        (3, 29, "webpod1", "with more than 30 s left, from before the patch"),
        (10759, 10758, "webpod1", "with 30 s left at most, after the next connection"),
        (10759, None, "webpod1", "with 30 s left at most, after the next connection"),
        (10759, 29, "webpod2", "seen: webpod2 answered"),
    ],
    ids=["gone", "patched-at-once", "not-renewed", "forgotten", "moved"],
)
def test_elements_that_do_otherwise_do_not_hold(
    world: World, left: float | None, renewed: float | None, probe: str, says: str
) -> None:
    verdict = judge_old_expiry(old_rest(world, left, renewed, probe), CLIENT_ID)

    assert says in explained(verdict)


def test_a_read_before_the_new_timeout_is_over_is_no_evidence(world: World) -> None:
    with pytest.raises(UntimelyError, match=r"was read 29\.99 s after"):
        judge_old_expiry(old_rest(world, 10759, 29, "webpod1", uptime=990.0), CLIENT_ID)


def departure(
    world: World, during: float | None, *, stays: bool = False, over: float = 31.0, at: float = 26.0
) -> ExpiredElements:
    elements = {0: {CLIENT: during}} if during is not None else {}
    return ExpiredElements(
        (world.service,),
        (world.contact("webpod1", 100.0),),
        world.node_with_sets(HOME, elements, uptime=100.0 + at, read_until=100.2 + at),
        world.node_with_sets(HOME, elements if stays else {}, uptime=100.0 + over),
    )


def test_elements_that_go_when_their_time_is_over_hold(world: World) -> None:
    verdict = judge_expired_elements(departure(world, 3), CLIENT_ID)

    assert verdict.ok
    assert verdict.headline == "3 s left, then gone"


@pytest.mark.parametrize(
    ("during", "stays", "says"),
    [
        (None, False, "expected: one element of 10.10.0.6 with 2.8 s to 4.0 s left"),
        (29, False, "29.00 s left"),
        (3, True, "expected: no element of 10.10.0.6 31.0 s after its connection"),
    ],
    ids=["never-there", "renewed", "stays"],
)
def test_elements_that_come_and_go_otherwise_do_not_hold(
    world: World, during: float | None, says: str, *, stays: bool
) -> None:
    assert says in explained(judge_expired_elements(departure(world, during, stays=stays), CLIENT_ID))


@pytest.mark.parametrize(("at", "over"), [(29.8, 31.0), (26.0, 29.9)], ids=["read-too-late", "read-too-early"])
def test_a_node_that_was_not_read_at_its_moments_is_no_evidence(world: World, at: float, over: float) -> None:
    with pytest.raises(UntimelyError, match=r"was read .* s after a request"):
        judge_expired_elements(departure(world, 3, at=at, over=over), CLIENT_ID)


def test_a_client_that_got_no_answer_does_not_hold(world: World) -> None:
    failed = replace(departure(world, 3), contacts=(world.contact(None, 100.0),))

    assert "seen: curl 28: timed out" in explained(judge_expired_elements(failed, CLIENT_ID))


def test_a_node_that_had_no_time_for_the_patch_is_not_judged(world: World) -> None:
    node = world.node(HOME, {0: {CLIENT: (5,)}})
    stale = world.programmed(WORKER, replace=("--seconds 30", "--seconds 10800"))
    late = patch(world, node, node, stale)

    with pytest.raises(NotReadyError, match=rf"{WORKER}: not programmed 10\.2 s after the change, in 3 reads"):
        judge_timeout_patch(IPTABLES, replace(late, after=replace(late.after, reads=3)), CLIENT_ID)
