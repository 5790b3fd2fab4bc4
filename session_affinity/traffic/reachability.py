"""Whether the client reaches the endpoints without any Service: otherwise nothing about Services can be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from session_affinity.errors import NotReadyError
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import NETWORK_POLICIES
from session_affinity.traffic.answers import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.traffic.client import Client

PORT: Final = 80


def require_reachable(client: Client, addresses: Mapping[str, str]) -> None:
    """Send a request to each endpoint's own address; raises NotReadyError naming those that do not answer, and why.

    ``addresses`` are the endpoints' by pod.
    """
    targets = {Target(address, PORT): pod for pod, address in addresses.items()}
    answers = client.request(*targets)
    failed = [f"{targets[one.target]} at {one.target}: {one.error}" for one in answers.failures]
    if failed:
        raise NotReadyError(
            f"the client {client.pod} on {client.node} does not reach endpoints by their own addresses, "
            f"so nothing about Services can be judged: {'; '.join(failed)}",
            next_step=_suspects(client),
        )


def _suspects(client: Client) -> str:
    try:
        policies = [one["metadata"]["name"] for one in client.api.objects(NETWORK_POLICIES, client.namespace)]
    except ApiError:
        policies = []
    named = f"NetworkPolicies in namespace {client.namespace}: {', '.join(policies)}; " if policies else ""
    return f"{named}see policies that hold for all namespaces, and the cluster's pod network"
