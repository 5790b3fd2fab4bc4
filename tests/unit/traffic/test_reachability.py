"""The precondition of all claims about Services: the client reaches every endpoint directly."""

from __future__ import annotations

from typing import Any

import pytest

from session_affinity.deadlines import Deadlines
from session_affinity.errors import NotReadyError
from session_affinity.traffic.answers import Answer, Answers, Target
from session_affinity.traffic.reachability import require_reachable

ADDRESSES = {"webpod1": "10.10.1.2", "webpod2": "10.10.2.2"}
REFUSED = "curl 7: Failed to connect"


class FakeClient:
    """A client to which these addresses do not answer in its first rounds of requests."""

    pod, node, namespace = "net-pod", "myk8s-worker", "default"
    deadlines = Deadlines(endpoints_reachable=0.05)

    def __init__(self, *rounds: set[str]) -> None:
        self.api = self
        self.rounds = list(rounds)
        self.requests = 0

    def request(self, *targets: Target) -> Answers:
        silent = self.rounds[0] if len(self.rounds) == 1 else self.rounds.pop(0)
        self.requests += 1
        return Answers(tuple(_answer(target, refused=target.address in silent) for target in targets))

    def objects(self, *_: object) -> list[dict[str, Any]]:
        return [{"metadata": {"name": "deny-all"}}]


def _answer(target: Target, *, refused: bool) -> Answer:
    endpoint = next(pod for pod, address in ADDRESSES.items() if address == target.address)
    return Answer(target, None if refused else endpoint, 200, 40000, 1, 0.01, REFUSED if refused else "")


def test_a_program_that_does_not_listen_yet_is_waited_for() -> None:
    client: Any = FakeClient({"10.10.2.2"}, set())

    require_reachable(client, ADDRESSES)

    assert client.requests == 2


def test_an_endpoint_that_stays_unreachable_is_named_with_the_policies() -> None:
    client: Any = FakeClient({"10.10.2.2"})

    with pytest.raises(NotReadyError, match=r"webpod2 at 10\.10\.2\.2:80: curl 7") as raised:
        require_reachable(client, ADDRESSES)

    assert "webpod1" not in raised.value.what
    assert "deny-all" in raised.value.next_step
