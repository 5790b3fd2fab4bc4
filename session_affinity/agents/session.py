"""Authenticated messages between coordinator and agent over one connection.

Both sides have the secret of the run, 32 random bytes. Each proves that it has by an HMAC over two fresh numbers, and
every message after that carries an HMAC with a key of this connection alone, its direction and its number: nobody else
can ask, answer, repeat or reorder. Messages are not encrypted: rules and Services are no secrets in the pod network.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import struct
from dataclasses import dataclass
from typing import Any, Final, Self

from session_affinity.errors import NodeError

SECRET_BYTES: Final = 32
LONGEST_LINE: Final = 4096
"""The most bytes of a line that is read from somebody who has proved nothing yet."""
LONGEST_MESSAGE: Final = 1 << 28
HEAD: Final = struct.Struct("!II")
"""The lengths of a message's header and of its data."""
_MAC_BYTES: Final = 32


class CallerRefusedError(NodeError):
    """The other side does not have the secret of the run, or runs another version of the suite."""


@dataclass(frozen=True)
class Identity:
    """The node and the pod of an agent, and its version of the suite."""

    node: str
    pod: str
    version: str


class CoordinatorHandshake:
    """The coordinator's side: ``greeting``, then the agent's ``reply``, then ``proof``."""

    def __init__(self, secret: bytes, version: str) -> None:
        self._secret = secret
        self._version = version
        self._nonce = secrets.token_hex(16)

    def greeting(self) -> bytes:
        """Return the first line."""
        return _line({"version": self._version, "nonce": self._nonce})

    def accept(self, reply: bytes) -> tuple[Identity, Session, bytes]:
        """Return who answered, the session with it, and the last line; raises CallerRefusedError."""
        fields = _fields(reply, "node", "pod", "version", "nonce", "mac")
        agent = Identity(fields["node"], fields["pod"], fields["version"])
        said = _transcript(self._nonce, fields["nonce"], agent)
        _require(self._secret, "agent", said, fields["mac"], who=f"an agent that calls itself that of {agent.node}")
        if agent.version != self._version:
            raise CallerRefusedError(
                f"{agent.node}: its agent is of version {agent.version}, and the coordinator of {self._version}",
                next_step="--agent-image names the image of this version",
            )
        proof = _line({"mac": _mac(self._secret, "coordinator", said)})
        return agent, Session(_key(self._secret, said), sends=b"c", receives=b"a"), proof


class AgentHandshake:
    """The agent's side: it answers the ``greeting``, and obeys once the coordinator has proved what it is."""

    def __init__(self, secret: bytes, agent: Identity) -> None:
        self._secret = secret
        self._agent = agent
        self._nonce = secrets.token_hex(16)
        self._said = ""

    def reply(self, greeting: bytes) -> bytes:
        """Return the answer to the first line; raises CallerRefusedError."""
        self._said = _transcript(_fields(greeting, "version", "nonce")["nonce"], self._nonce, self._agent)
        mac = _mac(self._secret, "agent", self._said)
        return _line({**vars(self._agent), "nonce": self._nonce, "mac": mac})

    def session(self, proof: bytes) -> Session:
        """Return the session with the coordinator; raises CallerRefusedError when it does not have the secret."""
        _require(self._secret, "coordinator", self._said, _fields(proof, "mac")["mac"], who="a coordinator")
        return Session(_key(self._secret, self._said), sends=b"a", receives=b"c")


@dataclass
class Session:
    """Seals the messages that one side sends and opens those that it receives, each in its order."""

    key: bytes
    sends: bytes
    receives: bytes
    sent: int = 0
    received: int = 0

    def seal(self, header: dict[str, Any], data: bytes = b"") -> bytes:
        """Return a message as it is sent: its lengths, an HMAC, the header as JSON, and data."""
        head = json.dumps(header, separators=(",", ":")).encode()
        lengths = HEAD.pack(len(head), len(data))
        mac = self._mac(self.sends, self.sent, lengths, head, data)
        self.sent += 1
        return b"".join((lengths, mac, head, data))

    def open(self, lengths: bytes, rest: bytes) -> tuple[dict[str, Any], bytes]:
        """Return the header and data of a message; raises CallerRefusedError for what another sent."""
        mac, head, data = (
            rest[:_MAC_BYTES],
            rest[_MAC_BYTES : _MAC_BYTES + HEAD.unpack(lengths)[0]],
            rest[_MAC_BYTES + HEAD.unpack(lengths)[0] :],
        )
        if not hmac.compare_digest(mac, self._mac(self.receives, self.received, lengths, head, data)):
            raise CallerRefusedError("a message was changed on its way, or somebody else sent it")
        self.received += 1
        header: dict[str, Any] = json.loads(head)
        return header, data

    def _mac(self, direction: bytes, number: int, *parts: bytes) -> bytes:
        made = hmac.new(self.key, direction + struct.pack("!Q", number), hashlib.sha256)
        for part in parts:
            made.update(part)
        return made.digest()


def rest_length(lengths: bytes) -> int:
    """Return how many bytes follow the lengths of a message; raises CallerRefusedError when it is too long."""
    total = sum(HEAD.unpack(lengths))
    if total > LONGEST_MESSAGE:
        raise CallerRefusedError(f"a message of {total} bytes, {LONGEST_MESSAGE} are allowed")
    return _MAC_BYTES + int(total)


@dataclass(frozen=True)
class Secret:
    """What the pods of a run share: the coordinator's address, and the secret."""

    host: str
    port: int
    secret: bytes

    @classmethod
    def new(cls, host: str, port: int) -> Self:
        """Return a new secret."""
        return cls(host, port, secrets.token_bytes(SECRET_BYTES))

    def text(self) -> str:
        """Return it as the text of a file."""
        return json.dumps({"host": self.host, "port": self.port, "secret": self.secret.hex()})

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of a file; raises NodeError."""
        try:
            fields = json.loads(text)
            return cls(str(fields["host"]), int(fields["port"]), bytes.fromhex(fields["secret"]))
        except (ValueError, KeyError, TypeError) as error:
            raise NodeError(f"the secret of the run cannot be read: {type(error).__name__}") from error


def _transcript(coordinator: str, agent: str, identity: Identity) -> str:
    return json.dumps([coordinator, agent, identity.node, identity.pod, identity.version])


def _mac(secret: bytes, who: str, said: str) -> str:
    return hmac.new(secret, f"{who} {said}".encode(), hashlib.sha256).hexdigest()


def _key(secret: bytes, said: str) -> bytes:
    return hmac.digest(secret, f"session {said}".encode(), "sha256")


def _require(secret: bytes, role: str, said: str, mac: str, *, who: str) -> None:
    if not hmac.compare_digest(mac.encode(), _mac(secret, role, said).encode()):
        raise CallerRefusedError(f"{who} does not have the secret of the run")


def _line(fields: dict[str, str]) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def _fields(line: bytes, *names: str) -> dict[str, str]:
    try:
        fields = json.loads(line)
        return {name: str(fields[name]) for name in names}
    except (ValueError, KeyError, TypeError) as error:
        raise CallerRefusedError("the other side speaks another protocol") from error
