"""Precondition: the client can reach every endpoint directly. If it cannot, no claim about Services can be tested."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from session_affinity.errors import NotReadyError
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import NETWORK_POLICIES
from session_affinity.traffic.answers import Target
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.traffic.client import Client

PORT: Final = 80


def require_reachable(client: Client, addresses: Mapping[str, str]) -> None:
    """Send requests to each endpoint's own address until all are answered.

    ``addresses`` are the addresses of the endpoints, by pod. On a busy machine a pod is Ready before its program
    listens. Raises NotReadyError with the endpoints that do not answer.
    """
    targets = {Target(address, PORT): pod for pod, address in addresses.items()}
    failed: list[str] = []

    def all_answer() -> bool:
        answers = client.request(*targets)
        failed[:] = [f"{targets[answer.target]} at {answer.target}: {answer.error}" for answer in answers.failures]
        return not failed

    if not poll(all_answer, client.deadlines.endpoints_reachable, pause=0.2):
        raise NotReadyError(
            f"the client {client.pod} on {client.node} cannot reach endpoints at their own addresses, "
            f"so no claim about Services can be tested: {'; '.join(failed)}",
            next_step=_next_step(client),
        )


def _next_step(client: Client) -> str:
    try:
        policies = [policy["metadata"]["name"] for policy in client.api.objects(NETWORK_POLICIES, client.namespace)]
    except ApiError:
        policies = []
    in_namespace = (
        f"check the NetworkPolicies in namespace {client.namespace}: {', '.join(policies)}; " if policies else ""
    )
    return f"{in_namespace}check policies that apply to all namespaces, and the cluster's pod network"
