"""Measure what it costs the suite to have its nodes judged by agents: time, memory, open files and bytes."""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from session_affinity.dataplane.model import CLIENT_IP, Endpoint, ServicePort, ServiceState
from session_affinity.dataplane.proxy_config import ProxyConfig, ProxyConfigs
from session_affinity.deadlines import Deadlines
from session_affinity.errors import NodeError
from session_affinity.nodes.nodes import Nodes
from session_affinity.testbed.testbed import NodeTestbed
from session_affinity.waiting import wait_until
from tests.scale.process_channel import LoopbackFleet
from tests.scale.stand_ins import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from session_affinity.agents.fleet import Fleet
    from session_affinity.agents.session import Secret
    from session_affinity.dataplane.judgement import Judgement
    from session_affinity.nodes.by_node import ByNode
    from session_affinity.nodes.node import Completed

CONNECT_SECONDS = 240.0
OPEN_FILES = 1024
"""The usual limit of a shell."""
LATE_SECONDS = 15.0
"""How long an agent may take, as in a run."""


@dataclass(frozen=True)
class NoAccess:
    """A node on which no command can be run: only its agent can be asked."""

    name: str

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        """Refuse to run a command."""
        raise NodeError(f"{self.name}: {argv[0]} would cost a connection of its own ({timeout} s, {stdin})")


@dataclass(frozen=True)
class Reading:
    """One question to all nodes: seconds, bytes to and from the coordinator, and what came of it."""

    seconds: float
    sent: int
    received: int
    judged: ByNode[Judgement]

    def bytes_per_node(self, nodes: int) -> float:
        """Return the bytes of a node."""
        return (self.sent + self.received) / nodes


@dataclass(frozen=True)
class Measured:
    """All readings; memory in MB and open files of this process at most, and processor seconds of it."""

    nodes: int
    connect_seconds: float
    readings: tuple[Reading, ...]
    memory: float
    files: int
    processor: float

    def table(self) -> str:
        """Return the figures as text."""
        lines = [f"{self.nodes} nodes; their agents connected in {self.connect_seconds:.1f} s"]
        lines += [
            f"reading {number}: {reading.seconds:.2f} s, {reading.bytes_per_node(self.nodes):.0f} bytes a node,"
            f" {len(reading.judged.readable)} judged, {len(reading.judged.missing)} missing,"
            f" {sum(bool(found.differences) for found in reading.judged.readable.values())} differ"
            for number, reading in enumerate(self.readings, 1)
        ]
        lines += [f"the suite: {self.memory:.0f} MB, {self.files} open files, {self.processor:.1f} s of processor time"]
        return "\n".join(lines)


def kinds_of(nodes: int, few: int = 5) -> dict[str, Kind]:
    """Return that many nodes, a few of each kind that is not right."""
    names = [f"node-{number:05}" for number in range(nodes)]
    odd = [kind for kind in (Kind.DIFFERENT, Kind.LATE, Kind.GONE, Kind.LYING, Kind.STALE) for _ in range(few)]
    places = range(0, nodes, max(nodes // len(odd), 1))
    return {
        **dict.fromkeys(names, Kind.RIGHT),
        **{names[place]: kind for place, kind in zip(places, odd, strict=False)},
    }


def services(count: int = 5) -> tuple[ServiceState, ...]:
    """Return Services as a claim asks about them."""
    endpoints = tuple(Endpoint(f"10.10.{number}.2", 80, f"webpod{number}", f"worker{number}") for number in (1, 2, 3))
    ports = (ServicePort("web", "TCP", 9000, endpoints),)
    return tuple(
        ServiceState("default", f"affinity-rules-{number}", (f"10.200.1.{number}",), CLIENT_IP, 10800, ports)
        for number in range(1, count + 1)
    )


@contextlib.contextmanager
def stand_ins(secret: Secret, kinds: Mapping[str, Kind]) -> Iterator[subprocess.Popen[str]]:
    """Run stand-ins in a process of their own, and end it."""
    process = subprocess.Popen((sys.executable, "-m", "tests.scale.stand_ins"), stdin=subprocess.PIPE, text=True)
    stdin: Any = process.stdin
    try:
        stdin.write(json.dumps({"secret": secret.text(), "kinds": kinds}) + "\n")
        stdin.flush()
        yield process
    finally:
        process.kill()
        stdin.close()
        process.wait(10)


def testbed_of(fleet: Fleet, names: Sequence[str], deadlines: Deadlines) -> NodeTestbed:
    """Return nodes that only their agents know, all with the same settings, each with an address of its own."""
    addresses = {name: (f"172.30.{number >> 8}.{number & 255}",) for number, name in enumerate(names)}
    proxy = ProxyConfig("iptables", "10.10.0.0/16", node_addresses=addresses)
    nodes = Nodes(
        {name: NoAccess(name) for name in names}, deadlines=deadlines, fleet=fleet, allowed_missing=len(names)
    )
    return NodeTestbed(nodes, ProxyConfigs.same(proxy, names), deadlines)


def measure(kinds: Mapping[str, Kind], readings: int = 3, *, late_seconds: float = LATE_SECONDS) -> Measured:
    """Ask stand-ins of these kinds, and return what that took."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard), hard))
    fleet = LoopbackFleet()
    try:
        began = time.monotonic()
        with stand_ins(fleet.reached_at(), kinds):
            wait_until(
                lambda: len(fleet.connected(10.0)) == len(kinds),
                CONNECT_SECONDS,
                what=f"{len(kinds)} stand-ins to be connected",
                last_state=lambda: f"{len(fleet.connected(10.0))} are",
            )
            connected = time.monotonic() - began
            testbed = testbed_of(fleet, list(kinds), Deadlines(node_read=late_seconds))
            processor, files, results = time.process_time(), 0, []
            for _ in range(readings):
                before, began = (fleet.traffic.sent, fleet.traffic.received), time.monotonic()
                judged = testbed.judge(services())
                traffic = fleet.traffic
                taken = time.monotonic() - began
                results.append(Reading(taken, traffic.sent - before[0], traffic.received - before[1], judged))
                files = max(files, len(list(Path("/proc/self/fd").iterdir())))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        return Measured(len(kinds), connected, tuple(results), memory, files, time.process_time() - processor)
    finally:
        fleet.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
