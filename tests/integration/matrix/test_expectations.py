"""The expectations of a leg are the tests that pytest would run on it; no cluster is started."""

from __future__ import annotations

import pytest

from ci.matrix.expectations import collect
from session_affinity.errors import UsageError
from session_affinity.legs import Leg

pytestmark = pytest.mark.integration

IPTABLES_ONLY, NFTABLES_ONLY = {"C16", "C18", "C21", "C25"}, {"C16n", "C18n", "C21s", "C22n", "C25n"}
DUAL_STACK = {"C45", "C60", "C61", "C62", "C63", "C64"}
"""Judged in both modes; C91 and C91n need a second IP family and a mode."""


def test_each_leg_skips_the_claims_about_the_other_proxy_mode_and_about_a_missing_ip_family() -> None:
    legs = [Leg("1.37", mode, "kind", family) for mode in ("iptables", "nftables") for family in ("ipv4", "dual")]

    plan = collect(legs, [])

    iptables, iptables_dual, nftables, nftables_dual = (set(leg.skipped) for leg in plan.expectations)
    assert iptables_dual >= NFTABLES_ONLY
    assert nftables_dual >= IPTABLES_ONLY
    assert not iptables_dual & nftables_dual
    assert iptables == iptables_dual | DUAL_STACK | {"C91"}
    assert nftables == nftables_dual | DUAL_STACK | {"C91n"}
    assert not iptables_dual & DUAL_STACK
    assert [{*leg.judged, *leg.skipped} for leg in plan.expectations] == [set(plan.titles)] * len(legs)
    assert all(not set(leg.judged) & set(leg.skipped) for leg in plan.expectations)


def test_a_selection_limits_the_expectations() -> None:
    (leg,) = collect([Leg("1.36", "nftables", "embedded")], ["-m", "C10 or C16"]).expectations

    assert (leg.judged, leg.skipped) == ({"C10": 1}, {"C16": 1})
    assert set(leg.titles) == {"C10", "C16"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--no-such-option"], "--no-such-option"), (["-m", "C10 and not C10"], "no leg judges")],
)
def test_arguments_that_pytest_rejects_or_that_select_nothing_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        collect([Leg("1.37", "iptables", "embedded")], arguments)
