"""The versions and modes of a known behaviour of kube-proxy."""

from __future__ import annotations

import pytest

from ci.claims_page import collect_claims
from session_affinity.claims.known_behaviour import (
    IPVS_SHORT_TIMEOUTS,
    UNUSED_CHAINS_KEPT,
    KnownBehaviour,
    known_behaviour,
)

pytestmark = pytest.mark.unit

MENDED = KnownBehaviour("forgets", "https://example.org/7", since="1.32", until="1.37")
ALWAYS = KnownBehaviour("waits", "https://example.org/8", modes=("iptables",))


def test_a_behaviour_is_in_the_releases_of_its_range() -> None:
    releases = ((1, 31), (1, 32), (1, 36), (1, 37), (2, 33))

    assert [release for release in releases if MENDED.is_in(release, "nftables")] == [(1, 32), (1, 36)]


def test_a_behaviour_without_a_range_is_in_every_release_of_its_modes() -> None:
    assert ALWAYS.is_in((1, 20), "iptables")
    assert ALWAYS.is_in((2, 0), "iptables")
    assert not ALWAYS.is_in((1, 37), "nftables")


def test_one_node_with_such_a_release_is_enough() -> None:
    assert known_behaviour((ALWAYS, MENDED), ((1, 37), (1, 36)), "nftables") is MENDED
    assert known_behaviour((ALWAYS, MENDED), ((1, 37),), "nftables") is None
    assert known_behaviour((), ((1, 36),), "iptables") is None


def test_a_behaviour_that_depends_on_size_is_known_by_observation_alone() -> None:
    assert known_behaviour((UNUSED_CHAINS_KEPT,), ((1, 37),), "iptables") is None
    assert UNUSED_CHAINS_KEPT.versions == "in every version, above 1000 endpoints"


def test_the_text_has_the_versions_and_the_report() -> None:
    assert str(MENDED) == "kube-proxy forgets (from 1.32 on, before 1.37): https://example.org/7"
    assert ALWAYS.versions == "in every version"


@pytest.mark.parametrize(("mode", "is_known"), [("ipvs", True), ("iptables", False), ("nftables", False)])
def test_short_timeouts_are_known_of_ipvs_alone(mode: str, *, is_known: bool) -> None:
    assert IPVS_SHORT_TIMEOUTS.is_in((1, 33), mode) is IPVS_SHORT_TIMEOUTS.is_in((1, 37), mode) is is_known


def test_claims_that_a_short_timeout_frees_clients_name_it() -> None:
    links = {claim["id"]: [known["link"] for known in claim["known"]] for claim in collect_claims("-m", "affinity")}
    known = {claim_id for claim_id, of_claim in links.items() if IPVS_SHORT_TIMEOUTS.link in of_claim}

    assert known == {"C24", "C24c", "C24d", "C44b"}
