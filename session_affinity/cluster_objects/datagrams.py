"""Pods that answer datagrams, and the ports of Services over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from session_affinity.cluster_objects.services import PORT

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class DatagramEndpoints:
    """Pods that answer HTTP requests at port 80 and datagrams at ``port``.

    ``server`` is the command with which a client's container answers datagrams; empty where endpoints do by themselves.
    """

    selector: Mapping[str, str]
    port: int
    server: tuple[str, ...] = ()


def udp_ports(count: int, target_port: int) -> list[dict[str, Any]]:
    """Return so many UDP ports of a Service, from ``PORT`` on, that lead to one port of the endpoints."""
    return [
        {"name": f"u{number}", "port": number, "targetPort": target_port, "protocol": "UDP"}
        for number in range(PORT, PORT + count)
    ]
