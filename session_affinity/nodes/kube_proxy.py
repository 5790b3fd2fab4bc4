"""The kube-proxy process of each node: its metrics, and signals to pause, resume, kill and start it.

Signals need a node whose processes can be seen.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.pages import METRICS_ADDRESS, METRICS_ARGV
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import NodeError
from session_affinity.waiting import SLOW_MACHINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from session_affinity.dataplane.proxy_config import ProxyConfigs
    from session_affinity.nodes.nodes import Nodes

METRICS: Final = f"http://{METRICS_ADDRESS}"
PROCESS: Final = "--config=[^ ]*[k]ube-proxy"
"""Matches the command line of kube-proxy, and not that of the program that looks for it."""
SYNC: Final = "kubeproxy_sync_proxy_rules"
"""How the metrics about syncs begin (pkg/proxy/metrics/metrics.go); a counter is there once it has counted."""
SYNC_QUEUED: Final = f"{SYNC}_last_queued_timestamp_seconds"
SYNC_ENDED: Final = f"{SYNC}_last_timestamp_seconds"
"""When a sync was last asked for, and when the last one that succeeded ended, in each IP family."""
IDLE_SECONDS: Final = 1.0
"""How long after its minSyncPeriod a kube-proxy has begun every sync that it was asked for."""
HANDLED_SECONDS: Final = 0.5
"""How long after the last packet with changes a kube-proxy has asked for a sync that writes them."""
TIMED_METRICS_ARGV: Final = (*METRICS_ARGV[:2], f"date +%s.%N\n{METRICS_ARGV[2]}")
"""Prints the node's time, in seconds as in kube-proxy's timestamps, before kube-proxy's metrics are read, and these."""
SYNCS: Final = f"{SYNC}_duration_seconds_count"
"""How many syncs have ended in each IP family, failed ones included."""
STARTED: Final = "process_start_time_seconds"
FAILURES: Final = {
    "kubeproxy_sync_proxy_rules_iptables_restore_failures_total": "iptables-restore failed",
    "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total": "a partial sync failed",
    "kubeproxy_sync_proxy_rules_nftables_sync_failures_total": "a transaction of nft failed",
    "kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total": "the deletion of former chains failed",
}
"""The metrics that count failed syncs, in either mode, and what each says."""
NO_SYNC: Final = 3
"""The exit code of ``KILL_DURING_SYNC`` when it met no sync."""

# A program that writes rules runs for milliseconds: the loop starts no process of its own, and goes before others.
KILL_DURING_SYNC: Final = r"""
pid=$(pgrep -o -f -- "$1") || { echo 'no kube-proxy here' >&2; exit 1; }
read -r up idle </proc/uptime; end=$(( ${up%.*} + $2 ))
renice -n -20 -p $$ >/dev/null 2>&1
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
"""Resumes kube-proxy, and kills it as soon as it has a child that writes rules."""

LIMIT_FILES: Final = r"""
pid=$(pgrep -o -f -- "$1") || { echo 'no kube-proxy here' >&2; exit 1; }
prlimit --pid "$pid" --nofile --output=SOFT --noheadings && prlimit --pid "$pid" --nofile="$2":
"""
"""Prints how many files kube-proxy may have open, and changes that number."""

CUT_OFF: Final = r"""
pid=$(pgrep -o -f -- "$1") || { echo 'no kube-proxy here' >&2; exit 1; }
ports=$(ss -Htnp state established | sed -n "s/^ *[0-9]* *[0-9]* *[^ ]*:\([0-9]*\) .*pid=$pid,.*/\1/p" | tr '\n' ',')
[ -n "$ports" ] || { echo 'kube-proxy has no connection' >&2; exit 1; }
nft -f - <<RULES
table inet session-affinity-quiet {
  chain input { type filter hook input priority -300; tcp dport { ${ports%,} } drop; }
  chain output { type filter hook output priority -300; tcp sport { ${ports%,} } drop; }
}
RULES
"""
"""Drops the packets of the connections that kube-proxy has."""
CONNECT: Final = ("nft", "delete", "table", "inet", "session-affinity-quiet")
"""Removes the rules of ``CUT_OFF``."""
CUT_OFF_SECONDS: Final = 40.0
"""How long kube-proxy can be cut off: it connects again 45 s after the last packet (client-go's HTTP/2 health check:
ReadIdleTimeout and PingTimeout)."""

_SAMPLE: Final = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$", re.MULTILINE)
_NODE_TIME: Final = re.compile(r"\d+(?:\.\d+)?")
_FAMILY: Final = re.compile(r'ip_family="(?P<family>\w+)"')


@dataclass(frozen=True, order=True)
class FailureCounter:
    """A counter of failed syncs of one kube-proxy: what failed, and in which IP family; empty if it does not say."""

    what: str
    family: str = ""

    def __str__(self) -> str:
        return f"{self.what} ({self.family})" if self.family else self.what


FailedSyncs = Mapping[FailureCounter, int]
"""The number of failed syncs of one kube-proxy since it started, by counter."""


@dataclass(frozen=True)
class Syncs:
    """The syncs of one kube-proxy since it started: what failed, how many ended, and when the last success was.

    The last two are by IP family, which is empty where kube-proxy does not say it.
    """

    failed: FailedSyncs
    ended: Mapping[str, float]
    succeeded: Mapping[str, float]

    def count(self) -> int:
        """Return how many syncs ended, in all IP families."""
        return round(sum(self.ended.values()))

    def one_failed_since(self, before: Syncs, family: str) -> bool:
        """Return whether a sync of an IP family surely failed since then.

        kube-proxy counts a failure to write rules. Before it writes all of them it makes chains, and does not count
        when that fails: then syncs have ended, and none has succeeded.
        """
        if sum(self.failed.values()) > sum(before.failed.values()):
            return True
        name = family if family in self.ended else ""
        more = self.ended.get(name, 0.0) > before.ended.get(name, 0.0)
        return more and self.succeeded.get(name) == before.succeeded.get(name)


@dataclass(frozen=True)
class KubeProxies:
    """The kube-proxies of all nodes, which the suite may stop where the cluster is its own.

    ``start_command`` is the cluster's ``kube_proxy_start``.
    """

    nodes: Nodes
    configs: ProxyConfigs
    start_command: Sequence[str]
    deadlines: Deadlines = DEFAULTS

    def sync_period(self, node: str) -> float:
        """Return the seconds after which a kube-proxy writes all its rules again; raises ClusterError if unknown."""
        return self.configs.of(node).sync_period

    def failed_syncs(self, node: str) -> FailedSyncs:
        """Return the failed syncs of a kube-proxy since it started, none of what never failed; raises NodeError."""
        return _failures(node, self._metrics_text(node))

    def syncs(self, node: str) -> Syncs:
        """Return the syncs of a kube-proxy since it started; raises NodeError."""
        text = self._metrics_text(node)
        return Syncs(_failures(node, text), _by_family(text, SYNCS), _by_family(text, SYNC_ENDED))

    def all_failed_syncs(self) -> dict[str, FailedSyncs]:
        """Return the failed syncs by node; raises NodeError."""
        return {name: _failures(name, text) for name, text in self.nodes.metrics().items()}

    def fail_syncs(self, node: str) -> int:
        """Have a kube-proxy open no more files, so that it starts no program and its syncs fail; raises NodeError.

        Return how many it may have open otherwise, for ``end_failures``. It goes on to follow changes, over the
        connections that it has, and answers no request for its metrics.
        """
        return self._limit_files(node, 0)

    def end_failures(self, node: str, files: int) -> None:
        """Let a kube-proxy open files again; raises NodeError."""
        self._limit_files(node, files)

    def cut_off(self, node: str) -> bool:
        """Keep a kube-proxy from learning of changes for up to ``CUT_OFF_SECONDS``; return whether that is possible.

        The connections that it has lose all packets until ``connect``. Raises NodeError when the node does not answer.
        """
        return self.nodes.run(node, ("sh", "-c", CUT_OFF, "cut", PROCESS)).returncode == 0

    def connect(self, node: str, *, before: float) -> None:
        """End what ``cut_off`` began, and start the kube-proxy anew, so that it learns at once what it missed.

        ``before`` is as for ``revive``. Raises NodeError and NotReadyError.
        """
        self.nodes.run(node, CONNECT).check()
        self.kill(node)
        self.revive(node, before=before)

    def idle_seconds(self, node: str) -> float:
        """Return how long ``wait_until_idle`` waits at most; raises ClusterError if the settings are not known."""
        return self._quiet_seconds(node) + self.deadlines.kube_proxy_sync

    def wait_until_idle(self, node: str) -> None:
        """Wait until a kube-proxy that learns of no changes has written those that it knows of: see ``IdleCheck``.

        Raises NodeError and NotReadyError.
        """
        is_idle = IdleCheck(lambda: self._timed_metrics(node), self._quiet_seconds(node))
        wait_until(
            is_idle,
            self.idle_seconds(node),
            what=f"the kube-proxy on {node} to have written all changes that it knows of",
            last_state=lambda: (
                f"{len(is_idle.ended) - 1} syncs ended meanwhile, the last one at {is_idle.ended[-1][1]}"
            ),
            next_step=f"see its log; {SLOW_MACHINE}",
            pause=0.25,
        )

    def idle_check(self, node: str) -> IdleCheck:
        """Return a check of whether a kube-proxy that learns of no changes is idle.

        What it notices by itself it writes at once, and not after its minSyncPeriod. That sync is in no metric before
        it has ended, so how long the kube-proxy was quiet before the first call says nothing.
        """
        return IdleCheck(lambda: self._metrics_text(node), IDLE_SECONDS)

    def pause(self, node: str) -> None:
        """Stop a kube-proxy (SIGSTOP): changes wait until it is resumed; raises NodeError."""
        self._signal(node, "STOP")

    def resume(self, node: str) -> None:
        """Let a paused kube-proxy go on (SIGCONT); raises NodeError."""
        self._signal(node, "CONT")

    def kill(self, node: str) -> None:
        """Kill a kube-proxy, also a paused one; raises NodeError."""
        self._signal(node, "KILL")

    def kill_during_sync(self, node: str) -> bool:
        """Resume a paused kube-proxy and kill it as soon as it writes rules; return False if no sync was caught.

        A sync takes milliseconds: a busy machine may miss it. Raises NodeError.
        """
        seconds = round(self.deadlines.kube_proxy_sync + self.configs.of(node).min_sync_period)
        argv = ("sh", "-c", KILL_DURING_SYNC, "kill", PROCESS, str(seconds), str(NO_SYNC))
        done = self.nodes.run(node, argv)
        if done.returncode == NO_SYNC:
            return False
        done.check()
        return True

    def started(self, node: str) -> float:
        """Return the start time of a kube-proxy, in seconds of its own clock; 0 while it does not answer."""
        try:
            return self._metrics(node).get(STARTED, 0.0)
        except NodeError:
            return 0.0

    def revive(self, node: str, *, before: float) -> float:
        """Start a killed kube-proxy and wait until it answers; return the seconds that took.

        ``before`` is the start time of the killed one. Raises NodeError and NotReadyError.
        """
        began = time.monotonic()

        def is_back() -> bool:
            # Repeated: the node may not have noticed yet that the process is gone.
            if self.start_command and not self._runs(node):
                self.nodes.run(node, self.start_command).check()
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

    def restart(self, node: str) -> None:
        """Kill a kube-proxy, and start it as ``revive`` does; raises NodeError and NotReadyError."""
        before = self.started(node)
        self.kill(node)
        self.revive(node, before=before)

    def mend(self, node: str, *, before: float) -> None:
        """Resume a paused kube-proxy, start a killed one; ``before`` as for ``revive``."""
        if self._runs(node):
            self.resume(node)
        elif self.started(node) <= before:
            self.revive(node, before=before)

    def _quiet_seconds(self, node: str) -> float:
        return self.configs.of(node).min_sync_period + IDLE_SECONDS

    def _runs(self, node: str) -> bool:
        return self.nodes.run(node, ("pgrep", "-f", "--", PROCESS)).returncode == 0

    def _signal(self, node: str, name: str) -> None:
        # The oldest: a child that is about to become iptables has kube-proxy's command line too. Stopped, it would not
        # be found by it later, and kube-proxy would wait for it forever.
        done = self.nodes.run(node, ("pkill", f"-{name}", "-o", "-f", "--", PROCESS))
        if done.returncode:
            raise NodeError(f"{node}: no kube-proxy to signal {name}: {done.stderr.strip() or 'none runs'}")

    def _limit_files(self, node: str, files: int) -> int:
        argv = ("sh", "-c", LIMIT_FILES, "limit", PROCESS, str(files))
        return int(self.nodes.run(node, argv).check().stdout)

    def _metrics(self, node: str) -> dict[str, float]:
        """Return the value of each metric, summed over its labels."""
        values: dict[str, float] = {}
        for sample in _SAMPLE.finditer(self._metrics_text(node)):
            values[sample["name"]] = values.get(sample["name"], 0.0) + float(sample["value"])
        return values

    def _metrics_text(self, node: str) -> str:
        return self.nodes.run(node, METRICS_ARGV).check().stdout

    def _timed_metrics(self, node: str) -> str:
        return self.nodes.run(node, TIMED_METRICS_ARGV).check().stdout


@dataclass(frozen=True)
class IdleCheck:
    """Whether a kube-proxy has no sync to come, by its metrics: repeat the call until it has not.

    Then it has written all changes that it knew of at the first call, and none of its syncs ended for ``quiet``
    seconds, or two have ended since that call. If the first line of ``metrics`` is the node's time, it tells how long
    ago the last sync ended: that counts from before the first call, but not sooner than ``HANDLED_SECONDS`` after it.
    A call raises NodeError. ``ended`` has the moments of calls that saw another end of a sync than the one before, with
    those ends by IP family.
    """

    metrics: Callable[[], str]
    quiet: float
    ended: list[tuple[float, dict[str, float]]] = field(default_factory=list)

    def __call__(self) -> bool:
        """Read the metrics."""
        text, now = self.metrics(), time.monotonic()
        times = _by_family(text, SYNC_ENDED)
        if not self.ended or self.ended[-1][1] != times:
            self.ended.append((now, times))
        is_written = all(at <= times.get(family, 0.0) for family, at in _by_family(text, SYNC_QUEUED).items())
        is_handled = now - self.ended[0][0] >= HANDLED_SECONDS
        was_quiet = is_handled and _seconds_since(text, times) >= self.quiet
        return is_written and (was_quiet or now - self.ended[-1][0] >= self.quiet or len(self.ended) > 2)


def _seconds_since(text: str, times: Mapping[str, float]) -> float:
    """Return how long before the node's time the last of these moments was; 0 where one of both is not known."""
    now = _NODE_TIME.match(text)
    return float(now.group()) - max(times.values()) if now and times else 0.0


def _by_family(text: str, metric: str) -> dict[str, float]:
    """Return the values of a metric by IP family; the family is empty where kube-proxy does not say it."""
    samples = (sample for sample in _SAMPLE.finditer(text) if sample["name"] == metric)
    return {_family_of(sample): float(sample["value"]) for sample in samples}


def _family_of(sample: re.Match[str]) -> str:
    family = _FAMILY.search(sample["labels"] or "")
    return family["family"] if family else ""


def _failures(node: str, text: str) -> FailedSyncs:
    """Return the counters of failed syncs in kube-proxy's metrics; raises NodeError where nothing is about syncs."""
    counters: dict[FailureCounter, int] = {}
    samples = list(_SAMPLE.finditer(text))
    if not any(sample["name"].startswith(SYNC) for sample in samples):
        raise NodeError(f"{node}: {METRICS}/metrics has nothing about syncs: is it kube-proxy that answers there?")
    for sample in samples:
        if what := FAILURES.get(sample["name"]):
            counter = FailureCounter(what, _family_of(sample))
            counters[counter] = counters.get(counter, 0) + int(float(sample["value"]))
    return counters
