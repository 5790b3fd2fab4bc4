"""Tables of affinity entries, with ages."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from session_affinity.dataplane.backends import IPTABLES, NFTABLES
from session_affinity.report import tables
from tests.unit.verdicts.conftest import CLIENT, HZ

if TYPE_CHECKING:
    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from tests.unit.verdicts.conftest import World


def rows(world: World, state: NodeSnapshot, backend: Backend = IPTABLES, hz: int = HZ) -> list[dict[str, str]]:
    text = tables.affinity_stores(backend, [world.service], {state.node: state}, {state.node: hz} if hz else {})
    return list(csv.DictReader(io.StringIO(text)))


def test_an_entry_has_its_age_and_the_seconds_left(world: World) -> None:
    live, empty = rows(world, world.node("a", {1: {CLIENT: (12, 20)}}))

    assert (live["endpoint"], live["client"], live["stamps"]) == ("webpod2", CLIENT, "2")
    assert (live["age s"], live["left s"], live["state"]) == ("12.00", "18.00", "live")
    assert (empty["endpoint"], empty["state"]) == ("webpod1 webpod3", "list empty")


def test_an_entry_past_its_timeout_is_expired(world: World) -> None:
    expired = rows(world, world.node("a", {0: {CLIENT: (31,)}}))[0]

    assert (expired["state"], expired["age s"], expired["left s"]) == ("expired", "31.00", "0.00")


def test_without_a_clock_there_is_no_age(world: World) -> None:
    assert rows(world, world.node("a", {0: {CLIENT: (31,)}}), hz=0)[0]["age s"] == "clock unknown"


def test_an_element_of_a_set_has_no_stamps(world: World) -> None:
    row = rows(world, world.node_with_sets("a", {2: {CLIENT: 25.0}}), NFTABLES, hz=0)[0]

    assert (row["endpoint"], row["stamps"], row["age s"], row["left s"]) == ("webpod3", "", "5.00", "25.00")


def test_an_element_with_more_seconds_left_than_the_timeout_has_no_age(world: World) -> None:
    row = rows(world, world.node_with_sets("a", {2: {CLIENT: 10755.0}}), NFTABLES, hz=0)[0]

    assert (row["age s"], row["left s"], row["state"]) == ("", "10755.00", "live")


def test_without_affinity_stores_there_is_no_table(world: World) -> None:
    assert tables.affinity_stores(IPTABLES, [world.service], {"a": world.programmed("a")}, {}) == ""


def test_a_long_table_ends_with_the_number_of_rows_left_out() -> None:
    text = tables.table(("number",), [(number,) for number in range(1000)])

    assert text.splitlines()[-1] == f"and {1000 - tables.MOST_ROWS} more"
