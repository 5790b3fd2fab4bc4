"""A client outside an embedded cluster: a network namespace on the bridge between the nodes.

It has an address of the nodes' network and routes to nothing else, so that pods and cluster IPs cannot be reached from
it. A process of the run holds it: with the process the kernel removes namespace and link, also after a kill -9.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from session_affinity.clusters.addresses import RANGES, families_of
from session_affinity.clusters.embedded.fabric import BRIDGE
from session_affinity.clusters.outside import Outside
from session_affinity.dataplane.model import family_of
from session_affinity.errors import ClusterError, NodeError
from session_affinity.nodes.node import Completed, shown_command
from session_affinity.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from session_affinity.clusters.embedded.state import ProcessId

NUMBER: Final = 200
"""Its number on the nodes' network; those of nodes begin at 0."""
HARDWARE_ADDRESS: Final = "02:00:00:00:00:c8"
"""Always the same, so that nodes need not forget that of an earlier run's client at this address."""
_LINK: Final = "eth0"
_START_SECONDS: Final = 10.0
_PREFIX: Final = {"IPv4": 32, "IPv6": 128}


@dataclass(frozen=True)
class EmbeddedOutsideHost:
    """The namespace of a process; ``pid`` is as this machine sees it."""

    pid: int
    name: str = "outside"
    place: str = "the network of the nodes"

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        """Run a command of this machine in the namespace (see ``OutsideHost``)."""
        command = ("nsenter", f"--target={self.pid}", "--net", "--", *argv)
        try:
            done = subprocess.run(
                command,
                input=stdin or "",
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise NodeError(f"{self.name}: {shown_command(argv)} did not end within {timeout:g} s") from error
        return Completed(self.name, tuple(argv), done.returncode, done.stdout, done.stderr)

    def lead(self, address: str, node_address: str) -> bool:
        """Add a route to an address by a node (see ``OutsideHost``)."""
        route = f"{address}/{_PREFIX[family_of(address)]}"
        self.run(("ip", "route", "replace", route, "via", node_address)).check()
        return True


@contextlib.contextmanager
def outside_of(fabric: ProcessId, ip_family: str) -> Iterator[Outside]:
    """Yield a client outside the cluster whose bridge is in the network namespace of the process ``fabric``.

    Raises ClusterError, NotReadyError.
    """
    # pdeathsig ends it with this process; unshare executes sleep in its own place, so the PID stays.
    holder = subprocess.Popen(
        ("setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(
            lambda: _has_own_network(holder.pid),
            _START_SECONDS,
            what="a network namespace for the client outside the cluster",
            last_state=lambda: f"setpriv ended with {holder.poll()}" if holder.poll() is not None else "not there yet",
            pause=0.01,
        )
        host = EmbeddedOutsideHost(holder.pid)
        _connect(host, fabric, ip_family)
        yield Outside(host)
    finally:
        holder.kill()
        holder.wait()


def _has_own_network(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    return False


def _connect(host: EmbeddedOutsideHost, fabric: ProcessId, ip_family: str) -> None:
    """Lay a link from the bridge to the namespace, and give it addresses."""
    if not fabric.is_alive:
        raise ClusterError("the cluster has ended", next_step="start it again")
    # The name of the port is unique on this machine, should the kernel still be removing that of an earlier run.
    port = f"out{os.getpid()}"
    at_bridge = ("nsenter", f"--target={fabric.pid}", "--net", "--", "ip", "link")
    peer = ("peer", "name", _LINK, "address", HARDWARE_ADDRESS, "netns", str(host.pid))
    for command in (
        (*at_bridge, "add", port, "type", "veth", *peer),
        (*at_bridge, "set", port, "master", BRIDGE, "up"),
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(f"the client outside the cluster cannot be connected: {done.stderr.strip()}")
    host.run(("ip", "link", "set", "lo", "up")).check()
    host.run(("ip", "link", "set", _LINK, "up")).check()
    for family in families_of(ip_family):
        ranges = RANGES[family]
        address = f"{ranges.node_address(NUMBER)}/{ranges.nodes_prefix}"
        # Without duplicate address detection an IPv6 address can be used at once.
        nodad = ("nodad",) if family == "IPv6" else ()
        host.run(("ip", "address", "add", address, "dev", _LINK, *nodad)).check()
