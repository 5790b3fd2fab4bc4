"""Metrics of kube-proxies, and signals to them, on a stand-in for the nodes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from session_affinity.dataplane.pages import METRICS_ARGV
from session_affinity.dataplane.proxy_config import ProxyConfig, ProxyConfigs
from session_affinity.deadlines import Deadlines
from session_affinity.errors import ClusterError, NodeError, NotReadyError
from session_affinity.nodes import kube_proxy
from session_affinity.nodes.by_node import ByNode
from session_affinity.nodes.kube_proxy import FailureCounter, IdleCheck, KubeProxies, Syncs
from session_affinity.nodes.node import Completed
from session_affinity.waiting import poll

pytestmark = pytest.mark.unit

METRICS = """\
# HELP process_start_time_seconds Start time of the process.
process_start_time_seconds {started}
kubeproxy_sync_proxy_rules_iptables_restore_failures_total{{ip_family="IPv4"}} 2
kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total{{ip_family="IPv4"}} 1
kubeproxy_sync_proxy_rules_iptables_restore_failures_total{{ip_family="IPv6"}} 4
kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total 5
kubeproxy_sync_proxy_rules_iptables_total{{ip_family="IPv4",table="nat"}} 63
"""


class FakeNodes:
    """One node whose kube-proxy can be killed and started; the first ``ignored`` start commands do nothing.

    ``syncs`` are the exit codes of ``KILL_DURING_SYNC`` and ``LIMIT_FILES``, which prints ``files``.
    """

    names = ("a",)

    def __init__(self, ignored: int = 0, syncs: tuple[int, ...] = (), files: str = "", page: str = METRICS) -> None:
        self.page = page
        self.files = files
        self.syncs = list(syncs)
        self.runs = True
        self.started = 100.0
        self.ignored = ignored
        self.commands: list[tuple[str, ...]] = []

    def run(self, name: str, argv: tuple[str, ...]) -> Completed:
        self.commands.append(tuple(argv))
        code, output = self._answer(argv)
        return Completed(name, tuple(argv), code, output, "")

    def metrics(self) -> ByNode[str]:
        return ByNode({name: self.run(name, METRICS_ARGV).check().stdout for name in self.names})

    def _answer(self, argv: tuple[str, ...]) -> tuple[int, str]:
        if argv == METRICS_ARGV:
            return (0, self.page.format(started=f"{self.started:e}")) if self.runs else (7, "")
        if argv[0] == "sh":
            return self.syncs.pop(0), self.files
        if argv[0] == "pgrep":
            return (0 if self.runs else 1), ""
        if argv[:2] == ("pkill", "-KILL"):
            was, self.runs = self.runs, False
            return (0 if was else 1), ""
        if argv[0] == "kill":
            self.ignored -= 1
            if self.ignored < 0:
                self.runs, self.started = True, self.started + 50
        return 0, ""


def proxies(nodes: FakeNodes, seconds: float = 5.0) -> KubeProxies:
    fake: Any = nodes
    configs = ProxyConfigs({"a": ProxyConfig("iptables", None, sync_period=60.0)})
    return KubeProxies(fake, configs, ("kill", "-10", "1"), Deadlines(kube_proxy_start=seconds))


def test_the_sync_period_is_that_of_the_nodes_settings() -> None:
    assert proxies(FakeNodes()).sync_period("a") == 60.0
    with pytest.raises(ClusterError, match="b: the settings of its kube-proxy are not known"):
        proxies(FakeNodes()).sync_period("b")


def test_failed_syncs_are_counted_by_what_failed_and_by_family() -> None:
    assert proxies(FakeNodes()).all_failed_syncs() == {
        "a": {
            FailureCounter("iptables-restore failed", "IPv4"): 2,
            FailureCounter("a partial sync failed", "IPv4"): 1,
            FailureCounter("iptables-restore failed", "IPv6"): 4,
            FailureCounter("the deletion of former chains failed"): 5,
        }
    }


SUCCESS = 1.795804286500339e09
LATER = SUCCESS + 0.5
BEFORE = Syncs({FailureCounter("a partial sync failed", "IPv4"): 1}, {"IPv4": 7, "IPv6": 2}, {"IPv4": SUCCESS})


@pytest.mark.parametrize(
    ("after", "failed"),
    [
        pytest.param(BEFORE, False, id="nothing"),
        pytest.param(replace(BEFORE, failed={FailureCounter("a partial sync failed", "IPv4"): 2}), True, id="counted"),
        pytest.param(replace(BEFORE, ended={"IPv4": 8, "IPv6": 2}), True, id="ended without success"),
        pytest.param(replace(BEFORE, ended={"IPv4": 7, "IPv6": 3}), False, id="in the other family"),
        pytest.param(replace(BEFORE, ended={"IPv4": 9}, succeeded={"IPv4": LATER}), False, id="one succeeded"),
    ],
)
def test_a_sync_that_failed_is_known_by_its_counter_or_because_none_succeeded(after: Syncs, *, failed: bool) -> None:
    assert after.one_failed_since(BEFORE, "IPv4") == failed


def test_syncs_of_a_kube_proxy_that_does_not_say_the_family_are_those_of_every_family() -> None:
    before, after = (Syncs({}, {"": ended}, {"": SUCCESS}) for ended in (7, 8))

    assert after.one_failed_since(before, "IPv6")
    assert not before.one_failed_since(before, "IPv6")


def test_syncs_are_read_from_the_metrics() -> None:
    page = METRICS + (
        'kubeproxy_sync_proxy_rules_duration_seconds_count{{ip_family="IPv4"}} 14\n'
        f'kubeproxy_sync_proxy_rules_last_timestamp_seconds{{{{ip_family="IPv4"}}}} {SUCCESS:e}\n'
    )

    syncs = proxies(FakeNodes(page=page)).syncs("a")

    assert syncs.failed == proxies(FakeNodes()).failed_syncs("a")
    assert syncs.ended == {"IPv4": 14}
    assert syncs.succeeded["IPv4"] == pytest.approx(SUCCESS)


def test_a_page_without_syncs_is_not_kube_proxys() -> None:
    nodes = FakeNodes(page="process_start_time_seconds 1\n")

    with pytest.raises(NodeError, match=r"a: .* has nothing about syncs"):
        proxies(nodes).failed_syncs("a")


def test_a_kube_proxy_may_open_as_many_files_again_as_before() -> None:
    nodes = FakeNodes(syncs=(0, 0), files="1024\n")
    running = proxies(nodes)

    running.end_failures("a", running.fail_syncs("a"))

    assert [argv[-1] for argv in nodes.commands] == ["0", "1024"]


class SyncingNodes(FakeNodes):
    """One node whose kube-proxy prints a page after another: when a sync was asked for, and when the last one ended.

    ``time`` is the node's all the while; empty where its ``date`` prints something else.
    """

    def __init__(self, *pages: tuple[float, float], time: str = "6.0") -> None:
        super().__init__()
        self.time = time
        self.pages = list(pages)
        self.reads = 0

    def _answer(self, argv: tuple[str, ...]) -> tuple[int, str]:
        assert argv == kube_proxy.TIMED_METRICS_ARGV
        queued, ended = self.pages[min(self.reads, len(self.pages) - 1)]
        self.reads += 1
        names = {"last_queued_timestamp_seconds": queued, "last_timestamp_seconds": ended}
        values = (f'{kube_proxy.SYNC}_{name}{{ip_family="IPv4"}} {value}\n' for name, value in names.items())
        return 0, f"{self.time}\n" + "".join(
            values
        ) + f'{kube_proxy.SYNC}_last_timestamp_seconds{{ip_family="IPv6"}} 1\n'


@pytest.mark.parametrize(
    ("pages", "least"),
    [
        pytest.param([(5.0, 6.0)], 3, id="no sync ends for its minSyncPeriod and a second"),
        pytest.param([(5.0, 4.0), (5.0, 4.0), (5.0, 6.0)], 5, id="a change is written first"),
        pytest.param([(5.0, 6.0), (7.0, 6.5), (7.0, 8.0)], 3, id="two syncs ended"),
    ],
)
def test_a_kube_proxy_is_idle_when_no_sync_is_to_come(
    monkeypatch: pytest.MonkeyPatch, pages: list[tuple[float, float]], least: int
) -> None:
    monkeypatch.setattr(kube_proxy, "IDLE_SECONDS", -0.6)  # after a minSyncPeriod of 1 s
    nodes = SyncingNodes(*pages)

    proxies(nodes).wait_until_idle("a")

    assert nodes.reads >= least


@pytest.mark.parametrize(
    ("time", "is_idle"),
    [
        pytest.param("8.25", True, id="its last sync ended long ago"),
        pytest.param("7.75", False, id="its last sync has just ended"),
        pytest.param("8.%N", True, id="whole seconds"),
        pytest.param("", False, id="its time is not known"),
    ],
)
def test_a_kube_proxy_was_idle_before_it_was_asked(
    time: str, monkeypatch: pytest.MonkeyPatch, *, is_idle: bool
) -> None:
    """Two seconds without a sync; changes that had just arrived have had time to ask for one."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    nodes = SyncingNodes((5.0, 6.0), time=time)
    check = IdleCheck(lambda: nodes.run("a", kube_proxy.TIMED_METRICS_ARGV).stdout, quiet=2.0)

    at_once = check()
    now += kube_proxy.HANDLED_SECONDS

    assert not at_once
    assert check() is is_idle


def test_what_a_kube_proxy_notices_by_itself_is_waited_for() -> None:
    """That sync is in no metric before it has ended: the node's time is not asked for."""
    nodes = FakeNodes()

    assert not proxies(nodes).idle_check("a")()
    assert nodes.commands == [METRICS_ARGV]


def test_a_kube_proxy_that_does_not_write_a_change_is_never_idle() -> None:
    fake: Any = SyncingNodes((5.0, 4.0))
    running = KubeProxies(fake, ProxyConfigs({"a": ProxyConfig("iptables", None)}), (), Deadlines(kube_proxy_sync=0.0))

    with pytest.raises(NotReadyError, match=r"have written all changes .*last state: 0 syncs ended meanwhile"):
        running.wait_until_idle("a")


def test_the_start_command_is_repeated_until_a_killed_kube_proxy_answers() -> None:
    nodes = FakeNodes(ignored=2)
    running = proxies(nodes)
    running.kill("a")

    running.revive("a", before=100.0)

    assert nodes.commands.count(("kill", "-10", "1")) == 3
    assert running.started("a") == 150.0


def test_a_restarted_kube_proxy_is_another_process() -> None:
    nodes = FakeNodes()
    running = proxies(nodes)
    before = running.started("a")

    running.restart("a")

    assert running.started("a") > before


def test_a_kube_proxy_that_does_not_come_back_is_an_error() -> None:
    running = proxies(FakeNodes(ignored=1000), seconds=0.05)
    running.kill("a")

    with pytest.raises(
        NotReadyError,
        match=r"the kube-proxy on a to be back .*; last state: .* does not answer, no process runs",
    ):
        running.revive("a", before=100.0)


def test_a_kube_proxy_that_does_not_run_cannot_be_killed() -> None:
    running = proxies(FakeNodes())
    running.kill("a")

    with pytest.raises(NodeError, match="no kube-proxy to signal KILL"):
        running.kill("a")
    assert running.started("a") == 0.0


def test_a_missed_sync_is_no_error_and_a_missing_kube_proxy_is() -> None:
    running = proxies(FakeNodes(syncs=(kube_proxy.NO_SYNC, 0, 1)))

    assert [running.kill_during_sync("a"), running.kill_during_sync("a")] == [False, True]
    with pytest.raises(NodeError, match=r"a: sh -c .* ended with 1"):
        running.kill_during_sync("a")


class ThisMachine(FakeNodes):
    """One node, which is this machine."""

    def _answer(self, argv: tuple[str, ...]) -> tuple[int, str]:
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        return done.returncode, done.stdout


def test_signals_reach_kube_proxy_and_no_child_that_still_has_its_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the child is there when the signal is sent is a matter of milliseconds on a node; this one stays."""
    fork = "import os, signal; child = os.fork(); child and print(child, flush=True); signal.pause()"
    argv = (sys.executable, "-c", fork, f"--config={tmp_path}/kube-proxy")
    monkeypatch.setattr(kube_proxy, "PROCESS", f"--config={tmp_path}/[k]ube-proxy")
    running = proxies(ThisMachine())

    def states() -> str:
        stats = (Path(f"/proc/{pid}/stat").read_text() for pid in (process.pid, child))
        return "".join(stat.rpartition(")")[2].split()[0] for stat in stats)

    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            running.pause("a")
            paused = poll(lambda: states() == "TS", 5.0, pause=0.01) or states()
            running.resume("a")
            resumed = poll(lambda: states() == "SS", 5.0, pause=0.01) or states()
        finally:
            subprocess.run(("kill", "-KILL", str(child)), check=True)
            process.kill()

    assert (paused, resumed) == (True, True)


def test_mend_resumes_a_paused_kube_proxy_and_starts_a_killed_one() -> None:
    nodes = FakeNodes()
    running = proxies(nodes)

    running.mend("a", before=100.0)
    running.kill("a")
    running.mend("a", before=100.0)

    assert [argv[1] for argv in nodes.commands if argv[0] == "pkill"] == ["-CONT", "-KILL"]
    assert nodes.runs
