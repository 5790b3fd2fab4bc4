"""The suite's side: asks the agents of all nodes through the coordinator, and believes no answer that cannot be true.

An agent says what it found as a digest, and its rules for the Services in question as another. For each pair of digests
one node's whole rules are sent: the suite judges them itself, by the same function, and requires the same digests. What
one node was found to have is then what every node with the same digests has. The node whose rules are sent where all
agree is another one at each reading.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import secrets
import threading
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from session_affinity import __version__
from session_affinity.agents import answers
from session_affinity.agents.coordinator import packed, unpacked
from session_affinity.dataplane import judgement, snapshot
from session_affinity.errors import ClusterError, NodeError
from session_affinity.waiting import poll, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from session_affinity.agents.session import Secret
    from session_affinity.dataplane.judgement import Judgement, NodePart, Question
    from session_affinity.dataplane.model import Family

READ_WINDOW: Final = 16
"""The most nodes whose whole rules are on their way at a time."""
ROUNDS: Final = 4
"""How often whole rules are asked for until each digest is explained: rules may change meanwhile."""
OVERTIME: Final = 10.0
"""How long the coordinator may take in excess of an agent's deadline, in seconds, before its connection is given up."""
START_SECONDS: Final = 20.0
"""How long the coordinator may take to start."""
_READ_SECONDS: Final = 0.5
_LIE: Final = "its agent answered what its rules do not say: {}"


class CoordinatorLostError(ClusterError):
    """The coordinator does not answer, and another could not be started in its pod: its node may be lost."""


class Channel(Protocol):
    """The standard input and output of the coordinator."""

    def write(self, line: bytes) -> None:
        """Send a line; raises ClusterError when the connection is lost."""

    def read(self, seconds: float) -> Sequence[bytes]:
        """Return the lines that have come, waiting for the first; raises ClusterError when the connection is lost."""

    def close(self) -> None:
        """End the coordinator."""


@dataclass
class Traffic:
    """What went through the API server to ask the agents, all in all."""

    requests: int = 0
    sent: int = 0
    received: int = 0
    connections: int = 0


@dataclass(frozen=True)
class Answered:
    """The answers of agents by node, header and data, and why the other nodes gave none."""

    answers: Mapping[str, tuple[Mapping[str, Any], bytes]] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


class Fleet:
    """The agents of a run, through its coordinator; may be shared by threads, which take turns.

    ``connect`` starts the coordinator and returns its channel. It is called again after the connection was lost. Every
    method raises CoordinatorLostError when that does not help; ``lost`` is why, from then on.
    """

    def __init__(self, secret: Secret, connect: Callable[[], Channel], *, listen: str = "") -> None:
        self.traffic = Traffic()
        self.lost = ""
        self._secret = secret
        self._connect = connect
        self._listen = listen
        self._lock = threading.Lock()
        self._channel: Channel | None = None
        self._numbers = itertools.count(1)
        self._turn = 0
        self.port = secret.port

    def close(self) -> None:
        """End the coordinator; its agents wait for the next one."""
        with self._lock:
            self._drop()

    def connected(self, seconds: float) -> dict[str, str]:
        """Return the pods of the agents that are connected, by node; raises ClusterError."""
        (line,) = self._request({"op": "nodes"}, seconds)
        pods: dict[str, str] = line["connected"]
        return pods

    def refused(self, seconds: float) -> dict[str, int]:
        """Return why connections to the coordinator were refused, and how many for each reason; raises ClusterError."""
        (line,) = self._request({"op": "nodes"}, seconds)
        reasons: dict[str, int] = line["refused"]
        return reasons

    def judge(
        self, question: Question, parts: Mapping[str, NodePart], seconds: float
    ) -> tuple[dict[str, Judgement], dict[str, str]]:
        """Return the judgements of nodes, each with a snapshot (see ``snapshot.of_another``), and missing nodes.

        An agent that says what its rules do not say is missing, with that as the reason. Raises ClusterError.
        """
        asking = _Asking(self, question, parts, seconds)
        self._turn += 1
        return asking.run(self._turn)

    def read(
        self, names: Iterable[str], family: Family, seconds: float, *, clock: Sequence[str] = ()
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return what the command that reads a node printed on each, and missing nodes; raises ClusterError."""
        return self._texts(names, {"op": answers.Op.READ, "family": family, "clock": list(clock)}, seconds)

    def pages(self, names: Iterable[str], seconds: float) -> tuple[dict[str, str], dict[str, str]]:
        """Return what the command that reads kube-proxy's pages printed, and missing nodes; raises ClusterError."""
        return self._texts(names, {"op": answers.Op.PAGES}, seconds)

    def metrics(self, names: Iterable[str], seconds: float) -> tuple[dict[str, str], dict[str, str]]:
        """Return kube-proxy's metrics about syncs, and missing nodes; raises ClusterError."""
        return self._texts(names, {"op": answers.Op.METRICS}, seconds)

    def ask(
        self,
        nodes: Mapping[str, int],
        header: Mapping[str, Any],
        parts: Sequence[Mapping[str, Any]],
        seconds: float,
        *,
        data: bytes = b"",
        window: int = 0,
    ) -> Answered:
        """Ask nodes, each with the part of its number; raises ClusterError."""
        request = {
            "op": "ask",
            "header": dict(header),
            "parts": list(parts),
            "nodes": dict(nodes),
            "seconds": seconds,
            "window": window,
            "data": base64.b64encode(data).decode(),
        }
        waves = -(-len(nodes) // window) if window else 1
        found: dict[str, tuple[Mapping[str, Any], bytes]] = {}
        missing: dict[str, str] = {}
        for line in self._request(request, seconds * waves):
            for node, answer, text in line["answers"]:
                if "error" in answer:
                    missing[node] = str(answer["error"])
                else:
                    found[node] = answer, base64.b64decode(text)
        return Answered(found, missing)

    def _texts(
        self, names: Iterable[str], header: Mapping[str, Any], seconds: float
    ) -> tuple[dict[str, str], dict[str, str]]:
        asked = self.ask(dict.fromkeys(names, 0), header, [{}], seconds, window=READ_WINDOW)
        texts = {name: zlib.decompress(text).decode(errors="replace") for name, (_, text) in asked.answers.items()}
        return texts, dict(asked.missing)

    def _request(self, request: dict[str, Any], seconds: float) -> list[dict[str, Any]]:
        """Return the lines that answer a request; a connection that was lost while it was idle is opened again."""
        with self._lock:
            while True:
                was_open = self._channel is not None
                try:
                    return self._attempt(request, seconds)
                except ClusterError as error:
                    self._drop()
                    if not was_open:
                        self.lost = error.what
                        raise CoordinatorLostError(error.what, next_step=error.next_step) from error

    def _attempt(self, request: dict[str, Any], seconds: float) -> list[dict[str, Any]]:
        channel = self._channel or self._open()
        number = next(self._numbers)
        self._write(channel, {**request, "id": number})
        self.traffic.requests += 1
        lines: list[dict[str, Any]] = []

        def is_answered() -> bool:
            lines.extend(line for line in self._read(channel) if line.get("id") == number)
            return bool(lines and lines[-1].get("done"))

        if not poll(is_answered, seconds + OVERTIME, pause=0):
            raise ClusterError(
                f"the coordinator of the node agents did not answer within {seconds + OVERTIME:.0f} s",
                next_step="see whether its pod runs, and the load of its node",
            )
        return lines

    def _open(self) -> Channel:
        channel = self._channel = self._connect()
        self.traffic.connections += 1
        fields = {"secret": self._secret.secret.hex(), "version": __version__}
        self._write(channel, {**fields, "host": self._listen, "port": self._secret.port})
        listening = wait_until(
            lambda: next((line for line in self._read(channel) if "listening" in line), None),
            START_SECONDS,
            what="the coordinator of the node agents to listen",
            next_step="see the log of its pod",
            pause=0,
        )
        self.port = int(listening["listening"])
        return channel

    def _write(self, channel: Channel, value: Any) -> None:
        line = packed(value)
        self.traffic.sent += len(line)
        channel.write(line)

    def _read(self, channel: Channel) -> list[dict[str, Any]]:
        lines = channel.read(_READ_SECONDS)
        self.traffic.received += sum(len(line) + 1 for line in lines)
        try:
            return [unpacked(line) for line in lines]
        except ValueError as error:
            raise ClusterError(f"the coordinator of the node agents printed what it does not: {error}") from error

    def _drop(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            with contextlib.suppress(ClusterError):
                channel.close()


Class = tuple[str, str]
"""The digests of a node's rules and of what its agent found."""


class _Asking:
    """One question to many nodes, until each answer is explained by rules that the suite has judged itself."""

    def __init__(self, fleet: Fleet, question: Question, parts: Mapping[str, NodePart], seconds: float) -> None:
        self._fleet = fleet
        self._question = question
        self._parts = dict(parts)
        self._seconds = seconds
        self._text = answers.question_text(question)
        self._data = zlib.compress(self._text.encode())
        self._known: dict[Class, Judgement] = {}
        self._answers: dict[str, Mapping[str, Any]] = {}
        self._judged: dict[str, Judgement] = {}
        self._missing: dict[str, str] = {}

    def run(self, turn: int) -> tuple[dict[str, Judgement], dict[str, str]]:
        names = list(self._parts)
        self._ask(names, {names[turn % len(names)]} if names else set())
        for _ in range(ROUNDS):
            unexplained = self._unexplained()
            if not unexplained:
                break
            first = [nodes[0] for nodes in unexplained.values()]
            self._ask(first, set(first))
        for nodes in self._unexplained().values():
            for node in nodes:
                self._missing[node] = "its rules changed each time they were read"
        for node, answer in self._answers.items():
            if node not in self._judged and node not in self._missing:
                known = self._known[_class_of(answer)]
                assert known.snapshot is not None
                self._judged[node] = known.on(node, snapshot.of_another(node, known.snapshot))
        judged = {name: self._judged[name] for name in names if name in self._judged}
        return judged, {name: self._missing[name] for name in names if name in self._missing}

    def _unexplained(self) -> dict[Class, list[str]]:
        classes: dict[Class, list[str]] = defaultdict(list)
        for node, answer in self._answers.items():
            if node not in self._judged and node not in self._missing and _class_of(answer) not in self._known:
                classes[_class_of(answer)].append(node)
        return classes

    def _ask(self, names: Sequence[str], whole: set[str]) -> None:
        """Ask nodes, these for their whole rules too."""
        nonce = secrets.token_hex(8)
        texts = {name: answers.part_text(self._parts[name]) for name in names}
        distinct = list(dict.fromkeys((texts[name], name in whole) for name in names))
        places = {key: place for place, key in enumerate(distinct)}
        asked = self._fleet.ask(
            {name: places[texts[name], name in whole] for name in names},
            {"op": answers.Op.JUDGE, "nonce": nonce},
            [{"part": text, **({"whole": True} if with_rules else {})} for text, with_rules in distinct],
            self._seconds,
            data=self._data,
            window=READ_WINDOW if len(whole) == len(names) else 0,
        )
        self._missing |= asked.missing
        for node in asked.missing:
            self._answers.pop(node, None)
        for node, (answer, data) in asked.answers.items():
            if answer.get("question") != answers.question_digest(self._text, texts[node], nonce):
                self._missing[node] = _LIE.format("it is the answer to another question")
            elif data:
                self._verify(node, answer, data)
            self._answers[node] = answer

    def _verify(self, node: str, answer: Mapping[str, Any], data: bytes) -> None:
        """Judge the rules that an agent sent; it is missing unless that leads to what it answered."""
        try:
            read = snapshot.parse(node, zlib.decompress(data).decode(errors="replace"))
            found = judgement.judge(read, self._question, self._parts[node])
        except (NodeError, zlib.error) as error:
            self._missing[node] = f"its rules cannot be read: {error}"
            return
        mine = (judgement.digest(read, self._question), found.digest(), found.is_equal)
        if mine != (*_class_of(answer), answer.get("equal")):
            what = "equal" if answer.get("equal") else "different"
            self._missing[node] = _LIE.format(f"{what}, with the digests {', '.join(_class_of(answer))}")
            return
        found = found.on(node, snapshot.of_another(node, read))
        self._judged[node] = found
        self._known[_class_of(answer)] = found


def _class_of(answer: Mapping[str, Any]) -> Class:
    return str(answer.get("rules")), str(answer.get("found"))
