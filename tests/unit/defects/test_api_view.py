"""What a kube-proxy with a changed view of the API reads."""

from __future__ import annotations

from typing import Any

import pytest

from tests.defects import api_view


def slice_named(name: str, **endpoint: Any) -> dict[str, Any]:
    return {"kind": "EndpointSlice", "metadata": {"name": name}, "endpoints": [{"addresses": ["10.1.1.1"], **endpoint}]}


def read(thing: dict[str, Any], change: str) -> dict[str, Any]:
    """Return an object as an event of a watch brings it."""
    event = api_view.changed({"type": "ADDED", "object": thing}, api_view.CHANGES[change])
    found: dict[str, Any] = event["object"]
    return found


def test_further_slices_are_empty() -> None:
    first, second = (read(slice_named(f"affinity-shape-001-x-ipv4-{place}"), "only_first_slice") for place in (0, 1))

    assert (len(first["endpoints"]), len(second["endpoints"])) == (1, 0)


def test_items_of_a_list_are_changed_too() -> None:
    thing = slice_named("x", hints={"forNodes": [{"name": "a"}], "forZones": [{"name": "b"}]})

    listed = api_view.changed({"kind": "EndpointSliceList", "items": [thing]}, api_view.no_node_hints)

    assert listed["items"][0]["endpoints"][0]["hints"] == {"forZones": [{"name": "b"}]}


@pytest.mark.parametrize(
    ("policy", "protocol", "affinity"),
    [
        ("Local", "SCTP", "None"),
        ("Cluster", "SCTP", "ClientIP"),
        ("Local", "TCP", "ClientIP"),
    ],
)
def test_affinity_is_lost_where_two_dimensions_meet(policy: str, protocol: str, affinity: str) -> None:
    spec = {"sessionAffinity": "ClientIP", "internalTrafficPolicy": policy, "ports": [{"protocol": protocol}]}

    assert read({"kind": "Service", "spec": spec}, "sctp_with_local_policy")["spec"]["sessionAffinity"] == affinity


def test_what_is_no_object_stays() -> None:
    bookmark = {"type": "BOOKMARK", "object": {"kind": "Service"}}

    assert api_view.changed(bookmark, api_view.ranges_without_node_ports) == bookmark
