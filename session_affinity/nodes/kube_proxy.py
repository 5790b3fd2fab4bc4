"""The kube-proxy of each node: its configuration, its metrics, and its process, to be stopped and started.

Source of the addresses: the defaults of KubeProxyConfiguration; configuration and metrics are served at the same one
(cmd/kube-proxy/app/server.go, serveMetrics). Stopping it takes signals, which work where a node sees its processes.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import NodeError
from session_affinity.nodes import configz
from session_affinity.waiting import SLOW_MACHINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.nodes.nodes import Nodes

METRICS_ADDRESS: Final = "127.0.0.1:10249"
"""The default metricsBindAddress of kube-proxy."""
METRICS: Final = f"http://{METRICS_ADDRESS}"
PROCESS: Final = "--config=[^ ]*[k]ube-proxy"
"""Matches the command line of kube-proxy, and not that of whoever looks for it."""
STARTED: Final = "process_start_time_seconds"
FAILURES: Final = (
    "kubeproxy_sync_proxy_rules_iptables_restore_failures_total",
    "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total",
    "kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
)
"""What counts the syncs that did not get through, in either mode."""
NO_SYNC: Final = 3
"""The exit code that says that none was met."""

# A program that writes rules runs for milliseconds: what is looked at here costs the shell no process of its own.
KILL_DURING_SYNC: Final = r"""
pid=$(pgrep -o -f -- "$1") || { echo 'no kube-proxy here' >&2; exit 1; }
read -r up idle </proc/uptime; end=$(( ${up%.*} + $2 ))
kill -CONT "$pid"
while read -r up idle </proc/uptime; [ "${up%.*}" -lt "$end" ]; do
  for thread in /proc/"$pid"/task/*; do
    read -r children 2>/dev/null <"$thread"/children
    for child in $children; do
      read -r name 2>/dev/null <"/proc/$child/comm"
      case $name in *restor*|nft) kill -KILL "$pid"; echo "$name"; exit 0;; esac
    done
  done
done
exit "$3"
"""
"""Has kube-proxy go on, and kills it as soon as it has a child that writes rules."""

_DURATION: Final = re.compile(r"(?P<number>[\d.]+)(?P<unit>ms|h|m|s)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SAMPLE: Final = re.compile(r"^(?P<name>\w+)(?:\{[^}]*\})? (?P<value>\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class KubeProxies:
    """The kube-proxies of all nodes; ``revival`` is the cluster's (see ``clusters.cluster.Cluster``)."""

    nodes: Nodes
    revival: Sequence[str] | None
    deadlines: Deadlines = DEFAULTS

    @property
    def may_be_stopped(self) -> bool:
        """Whether they are the suite's to stop."""
        return self.revival is not None

    def sync_period(self, node: str, mode: str) -> float:
        """Return after how many seconds a kube-proxy in this mode writes all its rules again; raises NodeError."""
        said = self._page(node, "configz")
        try:
            return seconds(str(configz.parse(said)[mode]["syncPeriod"]))
        except (ValueError, KeyError) as error:
            raise NodeError(f"{node}: /configz of kube-proxy tells no syncPeriod: {said[:200]!r}") from error

    def failed_syncs(self, node: str) -> int:
        """Return how many syncs of a kube-proxy have failed since it started; raises NodeError."""
        known = self._metrics(node)
        return int(sum(known.get(one, 0.0) for one in FAILURES))

    def all_failed_syncs(self) -> dict[str, int]:
        """Return the same of every node; raises NodeError."""
        return {name: self.failed_syncs(name) for name in self.nodes.names}

    def pause(self, node: str) -> None:
        """Have a kube-proxy stand still: what it is told meanwhile waits; raises NodeError."""
        self._signal(node, "STOP")

    def resume(self, node: str) -> None:
        """Have it go on; raises NodeError."""
        self._signal(node, "CONT")

    def kill(self, node: str) -> None:
        """End a kube-proxy, also one that stands still; raises NodeError."""
        self._signal(node, "KILL")

    def kill_during_sync(self, node: str) -> bool:
        """Have a kube-proxy go on that stands still, and kill it in its next sync; return whether that was met.

        A sync is over in milliseconds: a busy machine may miss it. Raises NodeError.
        """
        seconds = round(self.deadlines.kube_proxy_sync)
        argv = ("sh", "-c", KILL_DURING_SYNC, "kill", PROCESS, str(seconds), str(NO_SYNC))
        done = self.nodes.run(node, argv)
        if done.returncode == NO_SYNC:
            return False
        done.check()
        return True

    def started(self, node: str) -> float:
        """Return when a kube-proxy was started, by its clock; 0 while it does not answer."""
        try:
            return self._metrics(node).get(STARTED, 0.0)
        except NodeError:
            return 0.0

    def revive(self, node: str, *, before: float) -> float:
        """Have a node start the kube-proxy that was killed, and wait until it answers; return the seconds it took.

        ``before`` is when the one that was killed was started. Raises NodeError and NotReadyError.
        """
        began = time.monotonic()

        def is_back() -> bool:
            # Told again and again: the node may not have noticed yet that it was killed.
            if self.revival and not self._runs(node):
                self.nodes.run(node, self.revival).check()
            return self.started(node) > before

        wait_until(
            is_back,
            self.deadlines.kube_proxy_start,
            what=f"the kube-proxy on {node} to be back after it was killed",
            last_state=lambda: f"{METRICS} does not answer, {'its' if self._runs(node) else 'no'} process runs",
            next_step=f"see its log; {SLOW_MACHINE}",
            pause=0.1,
        )
        return time.monotonic() - began

    def mend(self, node: str, *, before: float) -> None:
        """Have a kube-proxy run that may stand still or be killed; ``before`` as for ``revive``."""
        if self._runs(node):
            self.resume(node)
        elif self.started(node) <= before:
            self.revive(node, before=before)

    def _runs(self, node: str) -> bool:
        return self.nodes.run(node, ("pgrep", "-f", "--", PROCESS)).returncode == 0

    def _signal(self, node: str, name: str) -> None:
        done = self.nodes.run(node, ("pkill", f"-{name}", "-f", "--", PROCESS))
        if done.returncode:
            raise NodeError(f"{node}: no kube-proxy to signal {name}: {done.stderr.strip() or 'none runs'}")

    def _metrics(self, node: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for sample in _SAMPLE.finditer(self._page(node, "metrics")):
            found[sample["name"]] = found.get(sample["name"], 0.0) + float(sample["value"])
        return found

    def _page(self, node: str, page: str) -> str:
        return self.nodes.run(node, ("curl", "-q", "-sS", "-f", "-m", "5", f"{METRICS}/{page}")).check().stdout


def seconds(duration: str) -> float:
    """Return a duration as Go writes it, ``1m30s``, in seconds; raises NodeError when it is none."""
    parts = list(_DURATION.finditer(duration))
    if "".join(part[0] for part in parts) != duration or not parts:
        raise NodeError(f"{duration!r} is no duration")
    return sum(float(part["number"]) * _UNITS[part["unit"]] for part in parts)
