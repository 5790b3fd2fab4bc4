"""A leg is identified by version, proxy mode, provider and IP family."""

from __future__ import annotations

import pytest

from session_affinity.legs import Leg
from session_affinity.plugin.leg import minor

pytestmark = pytest.mark.unit

IPV4 = Leg("1.37", "iptables", "kind")
DUAL = Leg("1.37", "iptables", "kind", "dual")


def test_the_default_family_is_left_out_of_id_name_and_parameters() -> None:
    assert (IPV4.id, IPV4.name) == ("k8s-1-37-iptables-kind", "1.37 iptables kind")
    assert IPV4.parameters == {"kubernetes": "1.37", "proxy mode": "iptables", "provider": "kind"}


def test_another_family_is_part_of_id_name_and_parameters() -> None:
    assert (DUAL.id, DUAL.name) == ("k8s-1-37-iptables-kind-dual", "1.37 iptables kind dual")
    assert DUAL.parameters == {**IPV4.parameters, "ip family": "dual"}


@pytest.mark.parametrize("leg", [IPV4, DUAL], ids=lambda leg: leg.family)
def test_a_leg_is_read_from_its_labels(leg: Leg) -> None:
    assert Leg.of_labels({**leg.labels, "claim": "C10"}) == leg


def test_results_without_a_family_are_of_the_ipv4_leg() -> None:
    assert Leg.of_labels({"k8s": "1.37", "proxy": "iptables", "provider": "kind"}) == IPV4


@pytest.mark.parametrize("label", ["k8s", "proxy", "provider"])
def test_any_other_missing_label_is_an_error(label: str) -> None:
    labels = {name: value for name, value in DUAL.labels.items() if name != label}

    with pytest.raises(KeyError, match=label):
        Leg.of_labels(labels)


def test_the_options_leave_nothing_to_defaults() -> None:
    assert DUAL.options == [
        *("--cluster", "kind", "--kubernetes", "1.37"),
        *("--proxy-mode", "iptables", "--ip-family", "dual"),
    ]


def test_legs_are_sorted_by_version_then_family_then_mode() -> None:
    in_order = [
        Leg("", "iptables", "external"),
        Leg("1.9", "nftables", "kind"),
        Leg("1.37", "iptables", "kind"),
        Leg("1.37", "nftables", "kind"),
        DUAL,
    ]

    legs = in_order[::-1]
    legs.sort(key=lambda leg: leg.order)

    assert legs == in_order


@pytest.mark.parametrize(("version", "expected"), [("v1.37.2", "1.37"), ("1.36", "1.36"), ("", ""), ("main", "")])
def test_the_version_of_a_leg_is_a_minor_version(version: str, expected: str) -> None:
    assert minor(version) == expected
