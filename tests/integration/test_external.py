"""A cluster that is there already: judged through a namespace of its own, left as it was, however the run ends."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.state import STATE_VARIABLE
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
NOT_LINUX = ROOT / "tests" / "component" / "cli" / "not_linux.py"
NAME = "external"
EVERYTHING = "ns,all,cm,sa,secrets,networkpolicies,clusterroles,clusterrolebindings"
CLAIMS = "C10 or C16 or C21 or C23 or C52"


@dataclass(frozen=True)
class Standing:
    """A cluster that a run finds standing."""

    cluster: clusters.EmbeddedCluster

    def kubectl(self, *arguments: str) -> str:
        argv = (self.cluster.layout.programs["kubectl"], f"--kubeconfig={self.cluster.kubeconfig}", *arguments)
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout

    def traces(self) -> tuple[str, str]:
        """Every object that a run could leave, and the digest of the kubeconfig."""
        digest = hashlib.sha256(self.cluster.kubeconfig.read_bytes()).hexdigest()
        return self.kubectl("get", EVERYTHING, "-A", "-o", "name"), digest

    def start(self, *arguments: str, claims: str = CLAIMS) -> subprocess.Popen[str]:
        """Begin a run of the suite in a checkout."""
        options = ("--cluster=external", *self.options, "-p", "no:cacheprovider")
        return self._start("-m", "pytest", "-m", claims, *options, *arguments)

    def check(self, *arguments: str) -> str:
        """Run ``session-affinity check`` to its end, as on a machine that is not Linux, and return its output."""
        process = self._start(str(NOT_LINUX), "check", "--claims-selection", CLAIMS, *self.options, *arguments)
        return process.communicate(timeout=200)[0]

    @property
    def options(self) -> tuple[str, ...]:
        """The options that name the cluster."""
        return (f"--kubeconfig={self.cluster.kubeconfig}", "--image-tags")

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            (sys.executable, *arguments),
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> str:
        """Run the suite to its end and return what it said."""
        return self.start(*arguments).communicate(timeout=200)[0]


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """A cluster that outlives the runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(tmp_path_factory.mktemp("standing")))
        argv = (sys.executable, "-m", "session_affinity", "cluster", "up", "--name", NAME)
        assert subprocess.run(argv, cwd=ROOT, check=False).returncode == 0
        found = clusters.find(NAME)
        assert found is not None
        yield Standing(found)
        clusters.down(NAME)


def counts(said: str) -> dict[str, int]:
    """Return the numbers of pytest's last line."""
    return {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|errors?)", said[-300:])}


def test_with_agents_every_claim_is_judged_and_nothing_stays(standing: Standing) -> None:
    before = standing.traces()

    said = standing.run("--node-access=agent")

    assert counts(said) == {"passed": 5}, said
    assert "read from kube-proxy itself (127.0.0.1:10249/configz) on 4 of 4 nodes" in said
    assert standing.traces() == before


def test_without_agents_behaviour_is_judged_and_the_flag_is_named(standing: Standing) -> None:
    before = standing.traces()

    said = standing.check()

    assert counts(said.partition("\nrefused:")[0]) == {"passed": 2, "skipped": 3}, said
    assert "--node-access agent" in said
    assert standing.traces() == before


@pytest.mark.parametrize(
    ("line", "pause", "claims", "number"),
    [
        pytest.param("namespace session-affinity-", 0.2, CLAIMS, signal.SIGINT, id="agents-starting"),
        pytest.param("external: endpoints on", 0.2, CLAIMS, signal.SIGINT, id="pods-starting"),
        pytest.param("passed  C10", 0.1, "C10 or C16", signal.SIGINT, id="during-requests"),
        pytest.param("passed  C10", 0.1, "C10 or C16", signal.SIGTERM, id="ended-during-requests"),
        pytest.param("waiting ", 3.0, "C23", signal.SIGINT, id="during-the-wait"),
        pytest.param("removing namespace", 0.0, "C10", signal.SIGINT, id="during-clean-up"),
    ],
)
def test_an_interrupted_run_leaves_nothing(
    standing: Standing, line: str, pause: float, claims: str, number: signal.Signals
) -> None:
    before = standing.traces()
    process = standing.start("--node-access=agent", claims=claims)
    assert process.stdout is not None
    said = []
    for text in process.stdout:
        said.append(text)
        if text.startswith(line):
            time.sleep(pause)
            process.send_signal(number)
            break

    said += process.communicate(timeout=90)

    assert process.returncode != -number, said
    assert standing.traces() == before, said


def test_what_a_killed_run_left_is_named_and_removed_by_the_next(standing: Standing) -> None:
    before = standing.traces()
    process = standing.start()
    assert process.stdout is not None
    said = next(text for text in process.stdout if text.startswith("external: endpoints on"))
    process.kill()
    process.communicate()
    (left,) = re.findall(r"namespace/(session-affinity-\S+)", standing.traces()[0])

    said = standing.start(claims="C10").communicate(timeout=200)[0]

    assert f"namespace {left}: left by a run of this machine that was killed" in said
    poll(lambda: standing.traces() == before, 30, pause=0.5)
    assert standing.traces() == before


def test_an_image_that_is_nowhere_is_named_within_seconds(standing: Standing) -> None:
    before = standing.traces()
    began = time.monotonic()

    said = standing.run("--image-registry=registry.invalid/mirror")

    assert "image registry.invalid/mirror/" in said
    assert said.count("cannot be pulled") == 1
    assert time.monotonic() - began < 30  # 15 s, and as much again on a busy machine
    assert standing.traces() == before


def test_nodes_that_take_no_pods_are_named(standing: Standing) -> None:
    names = [node.name for node in standing.cluster.layout.nodes]
    standing.kubectl("cordon", *names)
    try:
        said = standing.run()
    finally:
        standing.kubectl("uncordon", *names)

    assert f"no node of the cluster takes pods: {names[0]}: cordoned; {names[1]}: cordoned" in said
