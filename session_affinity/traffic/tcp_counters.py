"""What a client's kernel counts about the TCP connections of its network namespace."""

from __future__ import annotations

from typing import Final

from session_affinity.errors import TrafficError

ARGV: Final = ("cat", "/proc/net/netstat")
_GROUP: Final = "TcpExt:"
_SENT_AGAIN: Final = "TCPSynRetrans"


def syns_sent_again(text: str) -> int:
    """Return how many first packets of connections were sent again, from the output of ``ARGV``; raises TrafficError.

    Linux sends one again after a second without an answer, and at once where the server still has an earlier connection
    from the same port: it refuses the first packet with an ACK, and the client resets that connection and tries again
    (net/ipv4/tcp_input.c, tcp_rcv_synsent_state_process). A port may be used again for another address at once.
    """
    lines = [line.split() for line in text.splitlines() if line.startswith(_GROUP)]
    names, values = lines[:2] if len(lines) >= 2 else ((), ())
    counters = dict(zip(names, values, strict=False))
    if not counters.get(_SENT_AGAIN, "").isdigit():
        raise TrafficError(
            f"/proc/net/netstat of the client has no {_SENT_AGAIN}, it begins with {text[:200]!r}",
            next_step="check that the client's container can read /proc/net, and that its kernel is Linux",
        )
    return int(counters[_SENT_AGAIN])
