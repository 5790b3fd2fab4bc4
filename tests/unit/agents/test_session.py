"""Messages between coordinator and agent: only what the other side sent, once and in order, is accepted."""

from __future__ import annotations

import pytest

from session_affinity.agents.session import (
    HEAD,
    LONGEST_MESSAGE,
    AgentHandshake,
    CallerRefusedError,
    CoordinatorHandshake,
    Identity,
    Secret,
    Session,
    rest_length,
)
from session_affinity.errors import NodeError

pytestmark = pytest.mark.unit

AGENT = Identity("a", "agent-a", "1")
SECRET = b"s" * 32


def sessions(secret: bytes = SECRET) -> tuple[Session, Session]:
    """The sessions of a coordinator and of an agent."""
    coordinator, agent = CoordinatorHandshake(SECRET, "1"), AgentHandshake(secret, AGENT)
    who, session, proof = coordinator.accept(agent.reply(coordinator.greeting()))
    assert who == AGENT
    return session, agent.session(proof)


def split(message: bytes) -> tuple[bytes, bytes]:
    lengths, rest = message[: HEAD.size], message[HEAD.size :]
    assert rest_length(lengths) == len(rest)
    return lengths, rest


def test_both_sides_read_what_the_other_sends() -> None:
    coordinator, agent = sessions()

    assert agent.open(*split(coordinator.seal({"op": "read"}, b"\x00data"))) == ({"op": "read"}, b"\x00data")
    assert coordinator.open(*split(agent.seal({"equal": True}))) == ({"equal": True}, b"")


def test_a_side_without_the_secret_is_refused() -> None:
    with pytest.raises(CallerRefusedError, match="calls itself that of a does not have the secret"):
        sessions(b"t" * 32)

    agent = AgentHandshake(SECRET, AGENT)
    other = CoordinatorHandshake(b"t" * 32, "1")
    agent.reply(other.greeting())
    with pytest.raises(CallerRefusedError, match="a coordinator does not have the secret"):
        agent.session(b'{"mac": "00"}')


def test_the_proof_of_another_connection_is_none() -> None:
    first, second = CoordinatorHandshake(SECRET, "1"), CoordinatorHandshake(SECRET, "1")
    recorded = AgentHandshake(SECRET, AGENT).reply(first.greeting())

    second.greeting()
    with pytest.raises(CallerRefusedError, match="does not have the secret"):
        second.accept(recorded)


def test_a_message_is_accepted_once_unchanged_and_in_its_direction() -> None:
    coordinator, agent = sessions()
    message = coordinator.seal({"op": "read"}, b"data")

    with pytest.raises(CallerRefusedError, match="was changed on its way"):
        agent.open(*split(message[:-1] + b"x"))
    with pytest.raises(CallerRefusedError):
        coordinator.open(*split(message))
    agent.open(*split(message))
    with pytest.raises(CallerRefusedError):
        agent.open(*split(message))


def test_a_message_that_is_too_long_is_not_waited_for() -> None:
    with pytest.raises(CallerRefusedError, match=f"{LONGEST_MESSAGE} are allowed"):
        rest_length(HEAD.pack(LONGEST_MESSAGE, 1))


@pytest.mark.parametrize("line", [b"", b"GET / HTTP/1.1\n", b"[]\n", b'{"node": "a"}\n'])
def test_who_speaks_another_protocol_is_refused(line: bytes) -> None:
    with pytest.raises(CallerRefusedError, match="another protocol"):
        CoordinatorHandshake(SECRET, "1").accept(line)


def test_the_secret_is_random_and_read_back_from_its_file() -> None:
    made = Secret.new("10.10.1.9", 7475)

    assert Secret.parse(made.text()) == made
    assert made.secret != Secret.new("10.10.1.9", 7475).secret
    with pytest.raises(NodeError, match="cannot be read"):
        Secret.parse('{"host": "10.10.1.9"}')
