"""Parse TCP and UDP connections from ``conntrack -L`` or /proc/net/nf_conntrack."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from session_affinity.dataplane.model import host_port
from session_affinity.dataplane.xt_recent import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable

_PROTOCOL = re.compile(r"\b(?P<protocol>tcp|udp)\s+(?:6|17)\s+\d+\s")
_TUPLE = re.compile(r"src=(?P<src>\S+) dst=(?P<dst>\S+) sport=(?P<sport>\d+) dport=(?P<dport>\d+)")


@dataclass(frozen=True)
class Flow:
    """One conntrack entry: the original direction, and the source of the replies.

    Without DNAT the source of the replies is the original destination.
    """

    protocol: str
    src: str
    dst: str
    sport: int
    dport: int
    reply_src: str
    reply_sport: int

    @property
    def translated_to(self) -> str | None:
        """The DNAT target as ``ip:port``; None when the destination was not translated."""
        if (self.reply_src, self.reply_sport) == (self.dst, self.dport):
            return None
        return host_port(self.reply_src, self.reply_sport)


def parse(text: str) -> tuple[Flow, ...]:
    """Parse every TCP and UDP line; lines of other protocols and the summary of ``conntrack`` are skipped."""
    return tuple(flow for flow in map(_flow, text.splitlines()) if flow)


def endpoint_by_local_port(
    flows: Iterable[Flow], *, client: str, cluster_ip: str, port: int, protocol: str = "TCP"
) -> dict[int, str]:
    """Return the DNAT target ``ip:port`` of each of a client's flows to a Service, by the client's source port."""
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
        canonical(original["src"]),
        canonical(original["dst"]),
        int(original["sport"]),
        int(original["dport"]),
        canonical(reply["src"]),
        int(reply["sport"]),
    )
