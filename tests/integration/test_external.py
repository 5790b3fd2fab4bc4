"""A cluster that exists already: judged through one namespace, and left as it was however the run ends."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.state import STATE_VARIABLE
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
NOT_LINUX = ROOT / "tests" / "component" / "cli" / "not_linux.py"
NAME = "external"
EVERYTHING = "ns,all,cm,sa,secrets,networkpolicies,clusterroles,clusterrolebindings"
CLAIMS = "C10 or C16 or C21 or C23 or C52 or C96"
TEAM = """
apiVersion: v1
kind: Namespace
metadata: {name: team, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: Namespace
metadata: {name: agents, labels: {pod-security.kubernetes.io/enforce: privileged}}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: quota, namespace: team}
spec: {hard: {pods: "20", requests.cpu: 500m, requests.memory: 1Gi}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny, namespace: team}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
"""
"""An existing namespace as on a cluster that several teams share, and one for agents."""


@dataclass(frozen=True)
class Standing:
    """A cluster that a run finds standing; ``kubeconfig`` is that of the run's user, empty for the administrator's."""

    cluster: clusters.EmbeddedCluster
    kubeconfig: Path | None = None

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        argv = (self.cluster.layout.programs["kubectl"], f"--kubeconfig={self.cluster.kubeconfig}", *arguments)
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60, input=stdin).stdout

    def command(self, *arguments: str, home: Path | None = None) -> str:
        """Run ``session-affinity``, as another user of this machine if ``home`` is given, and return its output."""
        state = {"HOME": str(home), STATE_VARIABLE: str(home)} if home else {}
        argv = (sys.executable, "-m", "session_affinity", *arguments)
        environment = {**os.environ, **state}
        return subprocess.run(
            argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=120
        ).stdout

    @contextlib.contextmanager
    def user(self, directory: Path, *options: str) -> Iterator[Standing]:
        """Yield the cluster as a ServiceAccount sees it that has the printed rights for these options and no others."""
        manifests = self.command("rbac", "--service-account=default/tester", *options)
        self.kubectl("apply", "-f", "-", stdin=manifests)
        config = yaml.safe_load(self.cluster.kubeconfig.read_text())
        config["users"] = [{"name": "tester", "user": {"token": self.kubectl("create", "token", "tester")}}]
        for context in config["contexts"]:
            context["context"]["user"] = "tester"
        file = directory / "tester.kubeconfig"
        file.write_text(yaml.safe_dump(config))
        try:
            yield replace(self, kubeconfig=file)
        finally:
            self.kubectl("delete", "-f", "-", stdin=manifests)

    def traces(self) -> tuple[str, str]:
        """Every object that a run could leave, and the digest of the kubeconfig."""
        digest = hashlib.sha256(self.cluster.kubeconfig.read_bytes()).hexdigest()
        return self.kubectl("get", EVERYTHING, "-A", "-o", "name"), digest

    def wait_for_controllers(self) -> None:
        """Wait until kube-controller-manager, which starts last, has created what it creates in every namespace."""
        for namespace in self.kubectl("get", "namespaces", "-o", "name").split():
            options = (f"--namespace={namespace.partition('/')[2]}", "--for=create", "--timeout=50s")
            self.kubectl("wait", *options, "configmap/kube-root-ca.crt", "serviceaccount/default")

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
        return (f"--kubeconfig={self.kubeconfig or self.cluster.kubeconfig}", "--image-tags")

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
        standing = Standing(found)
        standing.wait_for_controllers()
        yield standing
        clusters.down(NAME)


@pytest.fixture
def other(standing: Standing, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """Another cluster beside it."""
    del standing
    name = f"{NAME}-other"
    argv = (sys.executable, "-m", "session_affinity", "cluster", "up", "--name", name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(tmp_path_factory.mktemp("other")))
        assert subprocess.run(argv, cwd=ROOT, check=False).returncode == 0
        found = clusters.find(name)
        assert found is not None
        yield Standing(found)
        clusters.down(name)


def counts(said: str) -> dict[str, int]:
    """Return the numbers of pytest's last line."""
    return {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|errors?)", said[-300:])}


def test_with_agents_every_claim_is_judged_and_nothing_stays(standing: Standing) -> None:
    before = standing.traces()

    said = standing.run("--node-access=agent")

    assert counts(said) == {"passed": 6}, said
    assert "read from kube-proxy itself (127.0.0.1:10249/configz)" in said
    assert "10249/configz) on " not in said, "not all nodes were read in this way"
    assert standing.traces() == before


def test_without_agents_behaviour_is_judged_and_the_flag_is_named(standing: Standing) -> None:
    before = standing.traces()

    said = standing.check()

    assert counts(said.partition("\nrefused:")[0]) == {"passed": 2, "skipped": 3}, said
    # What only kube-proxy promises passes although it is not known to serve the cluster.
    assert "passed  C96" in said
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


@pytest.fixture
def team(standing: Standing) -> Iterator[Standing]:
    """A cluster with one tainted node and with namespaces that have policies."""
    standing.kubectl("apply", "-f", "-", stdin=TEAM)
    worker = standing.cluster.layout.nodes[-1].name
    standing.kubectl("taint", "node", worker, "dedicated=team:NoSchedule")
    yield standing
    standing.kubectl("taint", "node", worker, "dedicated-")
    standing.kubectl("delete", "-f", "-", stdin=TEAM)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param((), {"passed": 1, "skipped": 1}, id="own-namespace"),
        pytest.param(("--node-access=agent",), {"passed": 2}, id="own-namespace-with-agents"),
        pytest.param(("--namespace=team",), {"passed": 1, "skipped": 1}, id="existing-namespace"),
        pytest.param(
            ("--namespace=team", "--agent-namespace=agents", "--node-access=agent"),
            {"passed": 2},
            id="existing-namespace-with-agents",
        ),
        pytest.param(("--namespace=team", "--minimal"), {"passed": 1, "skipped": 1}, id="without-optional-rights"),
    ],
)
def test_a_run_needs_the_printed_rights_only(
    team: Standing, tmp_path: Path, options: tuple[str, ...], expected: dict[str, int]
) -> None:
    before = team.traces()

    with team.user(tmp_path, *options) as user:
        run = [option for option in options if option != "--minimal"]
        said = user.start(*run, claims="C10 or C16").communicate(timeout=200)[0]

    assert counts(said) == expected, said
    assert team.traces() == before
    tainted = "(tainted dedicated:NoSchedule)" in said
    assert tainted == ("--minimal" not in options), said
    if "--namespace=team" in options and "--minimal" not in options:
        assert "namespace team admits pods of PodSecurity level restricted" in said
        assert "NetworkPolicies in namespace team: default-deny" in said


def test_what_cannot_be_judged_in_a_restricted_namespace_is_skipped_with_the_reason(team: Standing) -> None:
    options = ("--namespace=team", "--agent-namespace=agents", "--node-access=agent")

    said = team.start(*options, claims="C32 or C42 or C43").communicate(timeout=200)[0]

    assert counts(said) == {"passed": 1, "skipped": 2}, said
    assert "no client outside the cluster was named" in said
    assert "the cluster allows no hostNetwork pod" in said
    assert 'violates PodSecurity "restricted:latest"' in said


@pytest.mark.long
def test_a_pod_of_another_cluster_is_a_client_outside(standing: Standing, other: Standing) -> None:
    """Each has a network of its own here, so that the pod reaches no node port; the other cluster is as before."""
    before = other.traces()

    said = standing.run(f"--outside-client=kubeconfig://{other.cluster.kubeconfig}", "-m", "C32 or C66")

    assert counts(said) == {"passed": 1, "skipped": 1}, said
    assert "the client outside reaches no node port" in said
    assert other.traces() == before


def test_a_pod_of_the_tested_cluster_is_no_client_outside(standing: Standing) -> None:
    before = standing.traces()

    said = standing.run(f"--outside-client=kubeconfig://{standing.cluster.kubeconfig}", "-m", "C32")

    assert counts(said) == {"error": 1}, said
    assert "is the one that is tested" in said
    assert standing.traces() == before


@pytest.mark.parametrize("options", [(), ("--namespace=team", "--agent-namespace=agents")], ids=["own", "existing"])
def test_cleanup_removes_what_a_killed_run_left_from_another_machine(
    team: Standing, tmp_path: Path, options: tuple[str, ...]
) -> None:
    with team.user(tmp_path, "--node-access=agent") as cleaner:
        before = team.traces()
        process = team.start("--node-access=agent", *options, claims="C10 or C23")
        assert process.stdout is not None
        next(text for text in process.stdout if text.startswith("passed  C10"))
        process.kill()
        process.communicate()
        assert team.traces() != before

        cautious = cleaner.command("cleanup", cleaner.options[0], home=tmp_path)
        kept = team.traces()
        said = cleaner.command("cleanup", "--all", cleaner.options[0], home=tmp_path)

        assert "left alone (--all removes it)" in cautious
        assert kept != before
        assert "; removed" in said
        assert team.traces() == before


@pytest.mark.parametrize(
    ("allowed", "verdict", "code"),
    [
        pytest.param(0, "error   C26 ", 10, id="none-may-be-missing"),
        pytest.param(1, "passed  C26 ", 0, id="one-may-be-missing"),
    ],
)
def test_a_node_that_breaks_costs_its_own_verdicts(standing: Standing, allowed: int, verdict: str, code: int) -> None:
    node = standing.cluster.nodes[standing.cluster.layout.nodes[2].name]
    process = standing.start("--node-access=agent", f"--allow-missing-nodes={allowed}", claims="C10 or C21 or C26")
    assert process.stdout is not None
    said = []
    try:
        for text in process.stdout:
            said.append(text)
            if text.startswith("passed  C10"):
                node.run(("pkill", "-STOP", "-o", "-x", "kubelet")).check()
                break
        said += process.communicate(timeout=200)[0].splitlines(keepends=True)
    finally:
        node.run(("pkill", "-CONT", "-o", "-x", "kubelet")).check()

    output = "".join(said)
    assert verdict in output, output
    assert "passed  C21 " in output, output
    assert f"3 of 4 nodes (missing: {node.name}: " in output, output
    assert process.returncode == code
