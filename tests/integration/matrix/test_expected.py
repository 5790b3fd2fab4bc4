"""What a leg has to judge is what pytest would run for it; no cluster is started to know it."""

from __future__ import annotations

import pytest

from ci.matrix.expected import collect
from ci.matrix.legs import Leg
from session_affinity.claims import CATALOGUE, families
from session_affinity.errors import UsageError

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
@pytest.mark.parametrize("ip_family", ["ipv4", "dual"])
def test_every_claim_is_judged_or_skipped_by_its_dataplane_and_ip_families(mode: str, ip_family: str) -> None:
    plan = collect([Leg("1.37", mode, "kind")], ["--ip-family", ip_family])

    (leg,) = plan.expectations
    of_mode = {one.id for one in CATALOGUE.values() if not one.dataplanes or mode in one.dataplanes}
    of_two_families = {one.id for one in families.CLAIMS}
    assert set(leg.judged) == (of_mode if ip_family == "dual" else of_mode - of_two_families)
    assert set(leg.skipped) == set(CATALOGUE) - set(leg.judged)


def test_a_selection_is_what_is_expected() -> None:
    (leg,) = collect([Leg("1.36", "nftables", "embedded")], ["-m", "C10 or C16"]).expectations

    assert (leg.judged, leg.skipped) == ({"C10": 1}, {"C16": 1})


@pytest.mark.parametrize(
    ("arguments", "why"), [(["--no-such-option"], "--no-such-option"), (["-m", "C10 and not C10"], "no leg judges")]
)
def test_arguments_that_cannot_be_meant_are_refused(arguments: list[str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        collect([Leg("1.37", "iptables", "embedded")], arguments)
