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
from session_affinity.errors import UsageError

pytestmark = pytest.mark.unit

MENDED = KnownBehaviour("forgets", "https://example.org/7", since="1.32", until="1.37")
ALWAYS = KnownBehaviour("waits", "https://example.org/8", modes=("iptables",))


def test_a_behaviour_is_in_the_minor_versions_of_its_range() -> None:
    versions = ("v1.31.9", "v1.32.0", "1.36.12", "v1.37.0-rc.1", "v1.37.2")

    assert [version for version in versions if MENDED.is_in(version, "nftables")] == ["v1.32.0", "1.36.12"]


def test_a_behaviour_without_a_range_is_in_every_version_of_its_modes() -> None:
    assert ALWAYS.is_in("v1.20.1", "iptables")
    assert ALWAYS.is_in("v2.0.0", "iptables")
    assert not ALWAYS.is_in("v1.37.2", "nftables")


def test_vendors_versions_are_versions() -> None:
    assert MENDED.is_in("v1.33.5-gke.1080000", "iptables")
    assert MENDED.is_in("v1.34.1-eks-113cf36", "iptables")
    assert MENDED.is_in("v1.35.0+k3s1", "iptables")


def test_a_version_without_a_number_is_refused() -> None:
    with pytest.raises(UsageError, match="'latest' is no version of Kubernetes"):
        MENDED.is_in("latest", "iptables")


def test_one_node_with_such_a_version_is_enough() -> None:
    assert known_behaviour((ALWAYS, MENDED), ("v1.37.2", "v1.36.1"), "nftables") is MENDED
    assert known_behaviour((ALWAYS, MENDED), ("v1.37.2",), "nftables") is None
    assert known_behaviour((), ("v1.36.1",), "iptables") is None


def test_a_behaviour_that_depends_on_size_is_known_by_observation_alone() -> None:
    assert known_behaviour((UNUSED_CHAINS_KEPT,), ("v1.37.2",), "iptables") is None
    assert UNUSED_CHAINS_KEPT.versions == "in every version, above 1000 endpoints"


def test_the_text_has_the_versions_and_the_report() -> None:
    assert str(MENDED) == "kube-proxy forgets (from 1.32 on, before 1.37): https://example.org/7"
    assert ALWAYS.versions == "in every version"


@pytest.mark.parametrize(("mode", "is_known"), [("ipvs", True), ("iptables", False), ("nftables", False)])
def test_short_timeouts_are_known_of_ipvs_alone(mode: str, *, is_known: bool) -> None:
    assert IPVS_SHORT_TIMEOUTS.is_in("v1.33.13", mode) is IPVS_SHORT_TIMEOUTS.is_in("v1.37.2", mode) is is_known


def test_claims_that_a_short_timeout_frees_clients_name_it() -> None:
    links = {claim["id"]: [known["link"] for known in claim["known"]] for claim in collect_claims("-m", "affinity")}
    known = {claim_id for claim_id, of_claim in links.items() if IPVS_SHORT_TIMEOUTS.link in of_claim}

    assert known == {"C24", "C24c", "C24d", "C44b"}
