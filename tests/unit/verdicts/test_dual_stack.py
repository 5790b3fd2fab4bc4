"""Clients of a Service with two IP families, by observations written by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane.backends import IPTABLES
from session_affinity.dataplane.model import Endpoint, ServicePort, ServiceState
from session_affinity.dataplane.xt_recent import as_listed, parse
from session_affinity.verdicts.dual_stack import (
    ClientInFamily,
    EntryMove,
    judge_entry_per_family,
    judge_families_independent,
)
from tests.unit.verdicts.conftest import CLIENT_ID, explained

if TYPE_CHECKING:
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.traffic.client import ClientId
    from tests.unit.verdicts.conftest import World

NODE = "myk8s-control-plane"
IPV4, IPV6 = "10.10.0.2", "fd00:1::2"
HZ, NOW = 250, 4295540812


@pytest.fixture
def second(world: World) -> World:
    """The Service of ``world`` in its other family."""
    endpoints = tuple(Endpoint(f"fd00:1:0:{number}::2", 80, f"webpod{number}") for number in (1, 2, 3))
    port = ServicePort("web", "TCP", 9000, endpoints)
    service = replace(world.service, cluster_ips=("fd00:2::7",), ports=(port,), family="IPv6")
    return replace(world, service=service)


def listing(world: World, entries: dict[int, dict[str, int]]) -> NodeSnapshot:
    """Return a node with lists read from their text; stamps by endpoint number and the address as it is written."""
    lists = {}
    for place, chain in enumerate(world.chains):
        lines = [
            f"src={address} ttl: 64 last_seen: {NOW} oldest_pkt: 1 {', '.join([str(NOW)] * stamps)}"
            for address, stamps in entries.get(place, {}).items()
        ]
        lists[chain] = parse(chain, "\n".join(lines))
    return world.node(NODE, lists=lists)


def in_family(address: str) -> ClientId:
    return CLIENT_ID._replace(address=address)


def families(
    first: World, second: World, ipv4: dict[int, dict[str, int]], ipv6: dict[int, dict[str, int]]
) -> list[ClientInFamily]:
    return [
        ClientInFamily(first.service, in_family(IPV4), listing(first, ipv4)),
        ClientInFamily(second.service, in_family(IPV6), listing(second, ipv6)),
    ]


def test_an_ipv6_address_is_listed_in_eight_full_groups() -> None:
    assert as_listed(IPV6) == "fd00:0001:0000:0000:0000:0000:0000:0002"
    assert as_listed(IPV4) == IPV4


def test_each_family_has_the_client_in_one_list(world: World, second: World) -> None:
    seen = families(world, second, {1: {IPV4: 20}}, {0: {as_listed(IPV6): 20}})

    verdict = judge_entry_per_family(IPTABLES, seen, 20, HZ, sent_again=0)

    assert verdict.ok
    assert verdict.headline == f"{IPV4} with 20 stamps and {as_listed(IPV6)} with 20 stamps"


@pytest.mark.parametrize(
    ("ipv6", "text"),
    [
        pytest.param({}, f"IPv6: one live entry in the lists of the Service, of {IPV6}", id="none"),
        pytest.param({0: {as_listed(IPV6): 19}}, "with 19 stamps", id="too few"),
        pytest.param({0: {as_listed(IPV6): 20}, 1: {as_listed(IPV6): 20}}, "one live entry", id="two"),
        pytest.param({0: {as_listed("fd00:1::3"): 20}}, as_listed("fd00:1::3"), id="someone else"),
        pytest.param({0: {as_listed("fd00:1::"): 20}}, as_listed("fd00:1::"), id="a network"),
        pytest.param({0: {as_listed(IPV6): 20, IPV4: 1}}, f"{IPV4} with 1 stamps", id="the other family's too"),
        pytest.param({0: {IPV6: 20}}, f"{IPV6} written as {as_listed(IPV6)}", id="shortened"),
    ],
)
def test_a_second_family_that_lists_otherwise_does_not_hold(
    ipv6: dict[int, dict[str, int]], text: str, world: World, second: World
) -> None:
    verdict = judge_entry_per_family(IPTABLES, families(world, second, {1: {IPV4: 20}}, ipv6), 20, HZ, sent_again=0)

    assert not verdict.ok
    assert text in explained(verdict)


@pytest.mark.parametrize(
    ("stamps", "sent_again", "holds"), [(20, 1, True), (21, 1, True), (21, 0, False), (22, 1, False)]
)
def test_a_first_packet_that_was_sent_again_may_be_stamped_again(
    world: World, second: World, stamps: int, sent_again: int, *, holds: bool
) -> None:
    seen = families(world, second, {1: {IPV4: stamps}}, {0: {as_listed(IPV6): 20}})

    assert judge_entry_per_family(IPTABLES, seen, 20, HZ, sent_again=sent_again).ok is holds


def move(second: World, to: int, moved: list[str | None], other: list[str | None], first: World) -> EntryMove:
    return EntryMove(second.service.endpoints[to], second.answers(*moved), first.answers(*other))


def services(first: World, second: World) -> tuple[ServiceState, ServiceState]:
    return first.service, second.service


def test_one_family_is_moved_and_the_other_stays(world: World, second: World) -> None:
    moves = [move(second, to, [f"webpod{to + 1}"] * 5, ["webpod2"] * 5, world) for to in (0, 1, 2)]

    verdict = judge_families_independent(services(world, second), CLIENT_ID, moves)

    assert verdict.ok
    assert verdict.headline == "IPv6 moved to 3 endpoints, IPv4 stayed on webpod2"


def test_a_family_that_is_moved_along_does_not_hold(world: World, second: World) -> None:
    moves = [move(second, to, [f"webpod{to + 1}"] * 5, [f"webpod{to + 1}"] * 5, world) for to in (0, 1, 2)]

    verdict = judge_families_independent(services(world, second), CLIENT_ID, moves)

    assert "IPv4: one endpoint answers, wherever the IPv6 entry leads" in explained(verdict)


def test_a_family_that_does_not_follow_its_own_list_does_not_hold(world: World, second: World) -> None:
    moves = [move(second, to, ["webpod1"] * 5, ["webpod2"] * 5, world) for to in (0, 1, 2)]

    verdict = judge_families_independent(services(world, second), CLIENT_ID, moves)

    assert [finding.expected for finding in verdict.findings] == [
        f"IPv6: all answered by webpod{number}, which the client's entry is for" for number in (2, 3)
    ]


@pytest.mark.parametrize("broken", ["moved", "other"])
def test_a_request_without_an_answer_does_not_hold(broken: str, world: World, second: World) -> None:
    lost: list[str | None] = ["webpod1"] * 4 + [None]
    fine: list[str | None] = ["webpod1"] * 5
    right = move(second, 1, ["webpod2"] * 5, fine, world)
    wrong = move(second, 0, lost if broken == "moved" else fine, lost if broken == "other" else fine, world)

    assert not judge_families_independent(services(world, second), CLIENT_ID, [right, wrong]).ok
