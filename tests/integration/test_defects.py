"""The suite notices what is wrong: one node is made to misbehave, and the claim that says so fails with the reason.

kube-proxy runs behind a wrapper that sends what it writes through a filter of the test's choice, on one node only. So
the defect is in the rules from the start, as a broken kube-proxy would put it there, and nothing races with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from affinity.clusters.embedded import cluster as clusters
from affinity.clusters.embedded.state import STATE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
NAME = "defects"
SICK = f"{NAME}-worker2"
CLIENTS_NODE = f"{NAME}-control-plane"

_WRAPPER = """\
#!/bin/sh
PATH={directory}/bin:$PATH exec {kube_proxy} "$@"
"""
_RESTORE = """\
#!/bin/sh
if [ "$(hostname)" = {node} ] && [ -s {filter} ]; then sed -E -f {filter} | exec {restore} "$@"; fi
exec {restore} "$@"
"""


@dataclass(frozen=True)
class SickCluster:
    """A kept cluster with one node whose rules go through a filter."""

    cluster: clusters.EmbeddedCluster
    filter: Path

    @contextlib.contextmanager
    def writing(self, script: str) -> Iterator[None]:
        """Have everything that kube-proxy writes on the sick node changed by a sed script."""
        self.filter.write_text(script)
        try:
            yield
        finally:
            self.filter.write_text("")

    def judge(self, claims: str) -> Judgement:
        """Run the suite's claims on the cluster as a user would."""
        argv = (sys.executable, "-m", "pytest", "-m", claims, "--cluster-name", NAME, "--keep-cluster", "--timeout=120")
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
        return Judgement(done.returncode, done.stdout + done.stderr)

    def on_node(self, node: str, *command: str) -> str:
        """Run a command on a node."""
        return self.cluster.nodes[node].run(command).stdout


@dataclass(frozen=True)
class Judgement:
    """How a run ended and what it said."""

    code: int
    said: str

    def outcome(self, claim: str) -> str:
        """Return what the run's line for a claim begins with."""
        found = re.search(rf"^(\w+)\s+{claim}\s", self.said, re.MULTILINE)
        return found[1] if found else f"no line for {claim} in:\n{self.said}"


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SickCluster]:
    """A cluster whose kube-proxy is wrapped; healthy until a test says otherwise."""
    directory = tmp_path_factory.mktemp("wrapped")
    directory.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(directory / "state"))
        command = (sys.executable, "-m", "affinity.clusters.embedded")
        wrapper = _wrap_kube_proxy(directory)
        up = subprocess.run((*command, "up", "--name", NAME, "--kube-proxy", wrapper), cwd=ROOT, check=False)
        assert up.returncode == 0
        found = clusters.find(NAME)
        assert found is not None
        yield SickCluster(found, directory / "filter")
        clusters.down(NAME)


def _wrap_kube_proxy(directory: Path) -> Path:
    from affinity import versions
    from affinity.clusters.embedded import binaries
    from affinity.progress import quiet

    real = binaries.ensure(versions.resolve().release, quiet())["kube-proxy"]
    restore = next(p for p in ("/usr/sbin/iptables-restore", "/sbin/iptables-restore") if os.access(p, os.X_OK))
    (directory / "filter").write_text("")
    (directory / "bin").mkdir()
    scripts = {
        directory / "kube-proxy": _WRAPPER.format(directory=directory, kube_proxy=real),
        directory / "bin" / "iptables-restore": _RESTORE.format(
            node=SICK, filter=directory / "filter", restore=restore
        ),
    }
    for file, text in scripts.items():
        file.write_text(text)
        file.chmod(0o755)
    return directory / "kube-proxy"


def test_a_healthy_cluster_passes(sick: SickCluster) -> None:
    """The control for everything below: the wrapper itself breaks nothing."""
    judged = sick.judge("rules or lists or C10")

    assert judged.code == 0, judged.said


@pytest.mark.parametrize(
    ("script", "claim", "says"),
    [
        pytest.param("s/--seconds 10800/--seconds 3600/", "C16", r"--seconds 3600", id="seconds"),
        pytest.param("/-> 10\\.10\\.2\\..*rcheck/d", "C15", r"10\.10\.2\.\d+:80", id="rcheck deleted"),
        pytest.param("/DNAT/s/-m recent --name [^ ]+ --set//", "C18", r"--set", id="no set"),
        pytest.param("s/0\\.3333333333/0.5000000000/", "C17", r"0\.333\d+\s+seen: \S+ 0\.5", id="probabilities"),
    ],
)  # fmt: skip
def test_rules_that_are_wrong_on_one_node_fail_the_claim_about_them(
    script: str, claim: str, says: str, sick: SickCluster
) -> None:
    """The claim fails, names the node and no other, and says what was seen; claims about other things pass."""
    with sick.writing(script):
        judged = sick.judge("rules or C10")
    text = judged.said.partition("FAILURES")[2]

    assert judged.outcome(claim) == "failed"
    assert judged.outcome("C10") == "passed"
    assert re.search(rf"{claim} does not hold on {SICK}: .*{says}", text, re.DOTALL), judged.said
    assert f"does not hold on {NAME}-worker3" not in text


def test_a_kube_proxy_that_stopped_before_the_patch_fails_the_claim_about_it(sick: SickCluster) -> None:
    """The sick node's rules still say 10800 after the patch to 30: C22 fails and names it; C24 is not affected."""
    stopped = threading.Thread(target=_stop_when_services_are_there, args=(sick,))
    stopped.start()
    try:
        judged = sick.judge("C22 or C24")
    finally:
        stopped.join()
        sick.on_node(SICK, "pkill", "-CONT", "-x", "kube-proxy")

    assert judged.outcome("C22") == "failed"
    assert re.search(rf"C22 does not hold on {SICK}: .*--seconds 10800", judged.said, re.DOTALL), judged.said
    assert judged.outcome("C24") == "passed"


def _stop_when_services_are_there(sick: SickCluster) -> None:
    """Stop kube-proxy on the sick node once it has written the rules of all Services of the shared wait."""
    deadline = time.monotonic() + 60
    while sick.on_node(SICK, "iptables-save", "-t", "nat").count("--rcheck --seconds 10800") < 150:
        assert time.monotonic() < deadline, "the Services of the shared wait never came"
        time.sleep(0.02)
    sick.on_node(SICK, "pkill", "-STOP", "-x", "kube-proxy")


def test_lists_that_are_flushed_between_rounds_fail_the_claims_about_clients(sick: SickCluster) -> None:
    """A node that forgets its clients: the claim about its lists fails, and the one about keeping them for a while.

    C10 fails as well, but by chance: its requests take a tenth of a second, and may fall between two flushes.
    """
    flush = "while :; do for f in /proc/net/xt_recent/*; do echo / > $f; done; sleep 0.005; done 2>/dev/null"
    node = sick.cluster.nodes[CLIENTS_NODE]
    with subprocess.Popen(node.argv(("timeout", "120", "sh", "-c", flush)), start_new_session=True) as flushing:
        judged = sick.judge("C21")
        waited = sick.judge("C23")
        os.killpg(flushing.pid, signal.SIGTERM)

    assert judged.outcome("C21") == "failed"
    assert waited.outcome("C23") == "failed"


def test_a_dead_kube_proxy_fails_the_claims_about_its_node(sick: SickCluster) -> None:
    """Nothing is programmed there any more: the rule claims fail and name the node; they are not broken."""
    sick.on_node(SICK, "pkill", "-STOP", "-x", "kube-proxy")
    try:
        judged = sick.judge("rules")
    finally:
        sick.on_node(SICK, "pkill", "-CONT", "-x", "kube-proxy")

    assert {judged.outcome(claim) for claim in ("C14", "C15", "C16", "C18", "C51")} == {"failed"}
    assert SICK in judged.said
