"""Connections that a node translated: ``conntrack -L`` and /proc/net/nf_conntrack, TCP and UDP."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from session_affinity.dataplane.model import host_port
from session_affinity.dataplane.xt_recent import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable

_PROTOCOL = re.compile(r"\b(?P<protocol>tcp|udp)\s+(?:6|17)\s+\d+\s+(?P<state>[A-Z][A-Z0-9_]*\b)?")
_TUPLE = re.compile(r"src=(?P<src>\S+) dst=(?P<dst>\S+) sport=(?P<sport>\d+) dport=(?P<dport>\d+)")


@dataclass(frozen=True)
class Flow:
    """One connection: as the client opened it, and as its answers come back.

    ``state`` is the TCP state, empty for UDP. Without translation the reply is the original turned around.
    """

    protocol: str
    state: str
    src: str
    dst: str
    sport: int
    dport: int
    reply_src: str
    reply_dst: str
    reply_sport: int
    reply_dport: int

    @property
    def translated_to(self) -> str | None:
        """The ``ip:port`` that the destination was replaced by; None when it was kept."""
        if (self.reply_src, self.reply_sport) == (self.dst, self.dport):
            return None
        return host_port(self.reply_src, self.reply_sport)


def parse(text: str) -> tuple[Flow, ...]:
    """Read every TCP and UDP line; lines of other protocols and summaries are passed over."""
    return tuple(flow for flow in map(_flow, text.splitlines()) if flow)


def endpoint_by_local_port(
    flows: Iterable[Flow], *, client: str, cluster_ip: str, port: int, protocol: str = "TCP"
) -> dict[int, str]:
    """Return, by the client's own port, the ``ip:port`` each of its flows to the Service was translated to."""
    wanted = (protocol.lower(), canonical(client), canonical(cluster_ip), port)
    return {
        flow.sport: flow.translated_to
        for flow in flows
        if (flow.protocol, flow.src, flow.dst, flow.dport) == wanted and flow.translated_to
    }


def _flow(line: str) -> Flow | None:
    head, tuples = _PROTOCOL.search(line), list(_TUPLE.finditer(line))
    if not head or len(tuples) != 2:
        return None
    original, reply = tuples
    return Flow(
        head["protocol"],
        head["state"] or "",
        canonical(original["src"]),
        canonical(original["dst"]),
        int(original["sport"]),
        int(original["dport"]),
        canonical(reply["src"]),
        canonical(reply["dst"]),
        int(reply["sport"]),
        int(reply["dport"]),
    )
