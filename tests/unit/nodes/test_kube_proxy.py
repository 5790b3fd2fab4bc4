"""kube-proxies that are asked and stopped, on nodes that answer from memory."""

from __future__ import annotations

import json
from typing import Any

import pytest

from session_affinity.deadlines import Deadlines
from session_affinity.errors import NodeError, NotReadyError
from session_affinity.nodes import kube_proxy
from session_affinity.nodes.kube_proxy import KubeProxies, seconds
from session_affinity.nodes.node import Completed

pytestmark = pytest.mark.unit

METRICS = """\
# HELP process_start_time_seconds Start time of the process.
process_start_time_seconds {started}
kubeproxy_sync_proxy_rules_iptables_restore_failures_total{{ip_family="IPv4"}} 2
kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total{{ip_family="IPv4"}} 1
kubeproxy_sync_proxy_rules_iptables_total{{ip_family="IPv4",table="nat"}} 63
"""


class FakeNodes:
    """One node whose kube-proxy can be killed and told to start; ``deaf`` times it is told in vain.

    ``syncs`` are the exit codes of looking for a sync.
    """

    names = ("a",)

    def __init__(self, deaf: int = 0, syncs: tuple[int, ...] = ()) -> None:
        self.syncs = list(syncs)
        self.runs = True
        self.started = 100.0
        self.deaf = deaf
        self.told: list[tuple[str, ...]] = []

    def run(self, name: str, argv: tuple[str, ...]) -> Completed:
        self.told.append(tuple(argv))
        code, said = self._answer(argv)
        return Completed(name, tuple(argv), code, said, "")

    def _answer(self, argv: tuple[str, ...]) -> tuple[int, str]:
        if argv[0] == "curl":
            pages = {
                "metrics": METRICS.format(started=f"{self.started:e}"),
                "configz": json.dumps({"kubeproxy.config.k8s.io": {"iptables": {"syncPeriod": "30s"}}}),
            }
            return (0, pages[argv[-1].rpartition("/")[2]]) if self.runs else (7, "")
        if argv[0] == "sh":
            return self.syncs.pop(0), ""
        if argv[0] == "pgrep":
            return (0 if self.runs else 1), ""
        if argv[:2] == ("pkill", "-KILL"):
            was, self.runs = self.runs, False
            return (0 if was else 1), ""
        if argv[0] == "kill":
            self.deaf -= 1
            if self.deaf < 0:
                self.runs, self.started = True, self.started + 50
        return 0, ""


def proxies(
    nodes: FakeNodes, revival: tuple[str, ...] | None = ("kill", "-10", "1"), seconds: float = 5.0
) -> KubeProxies:
    found: Any = nodes
    return KubeProxies(found, revival, Deadlines(kube_proxy_start=seconds))


def test_the_period_is_what_kube_proxy_itself_says_of_its_mode() -> None:
    assert proxies(FakeNodes()).sync_period("a", "iptables") == 30
    with pytest.raises(NodeError, match=r"a: /configz of kube-proxy tells no syncPeriod: .*iptables"):
        proxies(FakeNodes()).sync_period("a", "nftables")


def test_failed_syncs_of_all_kinds_count() -> None:
    assert proxies(FakeNodes()).all_failed_syncs() == {"a": 3}


def test_one_that_was_killed_is_told_to_start_until_it_is_back() -> None:
    nodes = FakeNodes(deaf=2)
    running = proxies(nodes)
    running.kill("a")

    running.revive("a", before=100.0)

    assert nodes.told.count(("kill", "-10", "1")) == 3
    assert running.started("a") == 150.0


def test_one_that_does_not_come_back_is_an_error() -> None:
    running = proxies(FakeNodes(deaf=1000), seconds=0.05)
    running.kill("a")

    with pytest.raises(
        NotReadyError,
        match=r"the kube-proxy on a to be back .*; last state: .* does not answer, no process runs",
    ):
        running.revive("a", before=100.0)


def test_one_that_is_not_there_cannot_be_stopped() -> None:
    running = proxies(FakeNodes())
    running.kill("a")

    with pytest.raises(NodeError, match="no kube-proxy to signal KILL"):
        running.kill("a")
    assert running.started("a") == 0.0


def test_a_sync_that_is_missed_is_told_from_a_kube_proxy_that_is_not_there() -> None:
    running = proxies(FakeNodes(syncs=(kube_proxy.NO_SYNC, 0, 1)))

    assert [running.kill_during_sync("a"), running.kill_during_sync("a")] == [False, True]
    with pytest.raises(NodeError, match=r"a: sh -c .* ended with 1"):
        running.kill_during_sync("a")


def test_what_stands_still_goes_on_and_what_was_killed_is_started() -> None:
    nodes = FakeNodes()
    running = proxies(nodes)

    running.mend("a", before=100.0)
    running.kill("a")
    running.mend("a", before=100.0)

    assert [argv[1] for argv in nodes.told if argv[0] == "pkill"] == ["-CONT", "-KILL"]
    assert nodes.runs


def test_whose_kube_proxies_may_be_stopped_is_said_by_the_cluster() -> None:
    assert proxies(FakeNodes(), ()).may_be_stopped
    assert not proxies(FakeNodes(), None).may_be_stopped


@pytest.mark.parametrize(("text", "expected"), [("30s", 30), ("1m0s", 60), ("1h2m3.5s", 3723.5), ("250ms", 0.25)])
def test_durations_are_read_as_go_writes_them(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "30", "30s later"])
def test_what_is_no_duration_is_an_error(text: str) -> None:
    with pytest.raises(NodeError, match="is no duration"):
        seconds(text)
