"""Measure readings of a real cluster, by agents that judge and by a shell on every node (docs/scale.md).

``python -m tests.scale.real KUBECONFIG IMAGE [READINGS]``: the agents' processor time and memory are those of their
processes on this machine, where the nodes of an embedded cluster are.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from session_affinity.clusters.external import provider
from session_affinity.clusters.external.discovery import discover
from session_affinity.clusters.options import ClusterOptions
from session_affinity.dataplane import snapshot
from session_affinity.deadlines import Deadlines
from session_affinity.kube.api import Api
from session_affinity.kube.pod_shell import line
from session_affinity.nodes.nodes import Nodes
from session_affinity.progress import quiet
from session_affinity.testbed.testbed import NodeTestbed
from tests.scale.measure import services

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def agents_now() -> Iterator[tuple[float, float]]:
    """Yield processor seconds, children's included, and MB of each agent's process on this machine."""
    for directory in Path("/proc").iterdir():
        try:
            if b"session_affinity.agents.node_agent\0" not in (directory / "cmdline").read_bytes():
                continue
            fields = (directory / "stat").read_text().rpartition(")")[2].split()
            resident = int((directory / "statm").read_text().split()[1])
        except OSError:
            continue
        yield sum(map(int, fields[11:15])) / _TICKS, resident * _PAGE / 1e6


def timed(readings: int, read: Callable[[], object]) -> str:
    """Return the seconds of readings, and the processor time of this process for each."""
    seconds, processor = [], time.process_time()
    for _ in range(readings):
        began = time.monotonic()
        read()
        seconds.append(time.monotonic() - began)
    used = (time.process_time() - processor) / readings
    return f"{min(seconds):.2f} to {max(seconds):.2f} s, {used:.3f} s of processor time here"


def main(kubeconfig: str, image: str, readings: str = "5") -> None:
    """Print what readings cost."""
    count, deadlines = int(readings), Deadlines().scaled(8)
    api = Api(Path(kubeconfig))
    options = ClusterOptions(
        cluster="external",
        kubeconfig=Path(kubeconfig),
        node_access="agent",
        agent_image=image,
        image_tags=True,
        deadlines=deadlines,
    )
    began = time.monotonic()
    with provider.open_agents(api, options, quiet()) as agents:
        fleet = agents.fleet
        assert fleet is not None, "the agents do not judge"
        print(f"{len(agents.nodes)} agents in {time.monotonic() - began:.1f} s, missing {dict(agents.missing)}")
        configs = discover(api, agents.nodes, deadlines=deadlines, fleet=fleet)
        asked = services()
        judging = NodeTestbed(Nodes(agents.nodes, deadlines=deadlines, fleet=fleet), configs, deadlines)
        judging.judge(asked)
        sent, received, before = fleet.traffic.sent, fleet.traffic.received, dict(enumerate(agents_now()))
        print("judged by agents:", timed(count, lambda: judging.judge(asked)))
        after = dict(enumerate(agents_now()))
        nodes, traffic = len(agents.nodes) * count, fleet.traffic
        went, came = (traffic.sent - sent) / nodes, (traffic.received - received) / nodes
        print(f"  {went:.0f} bytes to and {came:.0f} from the API server a node, over {traffic.connections} connection")
        used = [after[number][0] - before[number][0] for number in after if number in before]
        most = max(memory for _, memory in after.values())
        print(f"  an agent: {sum(used) / nodes:.3f} s of processor time a reading, {most:.0f} MB")
        reading = NodeTestbed(Nodes(agents.nodes, deadlines=deadlines), configs, deadlines)
        texts = reading.nodes.run_everywhere(snapshot.READ_ARGV["IPv4"])
        size = sum(len(done.stdout) for done in texts.values()) / len(texts)
        asks = len(line(snapshot.READ_ARGV["IPv4"], "@@ended 1"))
        print("read by shells:", timed(count, lambda: reading.judge(asked)))
        print(f"  {asks} bytes to and {size:.0f} from the API server a node, over {len(texts)} connections")


if __name__ == "__main__":
    main(*sys.argv[1:])
