"""What a client's kernel counts about its connections."""

from __future__ import annotations

import pytest

from session_affinity.errors import TrafficError
from session_affinity.traffic.tcp_counters import syns_sent_again

NETSTAT = """\
TcpExt: SyncookiesSent TCPTimeouts TCPSynRetrans TCPOrigDataSent
TcpExt: 0 7 3 900
IpExt: InNoRoutes InOctets
IpExt: 0 12345
"""


def test_first_packets_that_were_sent_again_are_counted() -> None:
    assert syns_sent_again(NETSTAT) == 3


@pytest.mark.parametrize(
    "text", ["", "TcpExt: TCPSynRetrans", NETSTAT.replace("TCPSynRetrans", "Other"), NETSTAT.replace(" 3 ", " - ")]
)
def test_a_client_without_the_counter_is_an_error(text: str) -> None:
    with pytest.raises(TrafficError, match="no TCPSynRetrans"):
        syns_sent_again(text)
