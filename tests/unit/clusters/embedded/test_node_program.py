"""The user's program on every node: which file, what is started in place of what, and what it finds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from cryptography import x509

from session_affinity.clusters.embedded import node_program
from session_affinity.clusters.embedded.cluster import EmbeddedCluster
from session_affinity.clusters.embedded.configuration import processes_of, write_configuration
from session_affinity.clusters.embedded.dataplane_start import DataplaneStart
from session_affinity.clusters.embedded.layout import Layout, node_layouts
from session_affinity.clusters.embedded.prepare import ClusterRequest, resolve
from session_affinity.clusters.embedded.state import STATE_VARIABLE, ClusterProcesses, ProcessId, StateDirectory
from session_affinity.errors import NodeError, UsageError
from session_affinity.nodes.node import Completed

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAMS = (
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "containerd", "ctr", "runc",
    "ptp",
)  # fmt: skip


@pytest.fixture(scope="module")
def layout() -> Layout:
    """A cluster whose nodes run nothing but a program of the user's."""
    return Layout(
        "own",
        "1.37.2",
        "none",
        {name: f"/x/{name}" for name in PROGRAMS},
        "images.tar",
        node_layouts("own", 1),
        cni=False,
        node_programs={"control-plane": "/y/first", "worker": "/y/second"},
    )


@pytest.fixture(scope="module")
def state(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> StateDirectory:
    """Its files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(tmp_path_factory.mktemp("state")))
        state = StateDirectory(layout.name)
    state.create(tuple(node.name for node in layout.nodes))
    write_configuration(layout, state, 6443)
    return state


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """An executable file."""
    return executable(tmp_path / "agent")


def executable(file: Path) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def test_a_file_is_the_program_of_every_node(program: Path) -> None:
    assert node_program.programs_of(program) == {"control-plane": str(program), "worker": str(program)}


def test_a_directory_has_a_program_for_each_role(tmp_path: Path) -> None:
    files = {role: str(executable(tmp_path / "roles" / role)) for role in ("control-plane", "worker")}

    assert node_program.programs_of(tmp_path / "roles") == files


@pytest.mark.parametrize("missing", ["control-plane", "worker"])
def test_a_directory_without_an_executable_of_a_role_is_refused(missing: str, tmp_path: Path) -> None:
    for role in ("control-plane", "worker"):
        executable(tmp_path / "roles" / role)
    (tmp_path / "roles" / missing).chmod(0o644)

    with pytest.raises(UsageError, match=f"/{missing} is not an executable file"):
        node_program.programs_of(tmp_path / "roles")


def test_each_node_runs_the_program_of_its_role_and_no_kube_proxy(layout: Layout, state: StateDirectory) -> None:
    first, second = ({p.name: p for p in processes_of(layout, node, state)} for node in layout.nodes)

    assert first["node-program"].argv == ("/y/first",)
    assert second["node-program"].argv == ("/y/second",)
    assert second["node-program"].restart
    assert "kube-proxy" not in first.keys() | second.keys()


def test_the_program_starts_when_node_objects_and_rights_exist(layout: Layout, state: StateDirectory) -> None:
    _, gate = processes_of(layout, layout.nodes[1], state)[-1].after

    before = gate.is_open({})
    state.objects_created.touch()

    assert (before, gate.is_open({})) == (False, True)


def test_the_environment_is_the_one_in_the_documentation(layout: Layout, state: StateDirectory) -> None:
    """Every variable is in the table of the page, and has a value."""
    page = (Path(__file__).parents[4] / "docs" / "bring-your-own-dataplane.md").read_text()
    environment = node_program.environment(layout, layout.nodes[1], state, Path("/sys/fs/cgroup"))

    assert {name for name in environment if f"| `{name}` |" not in page} == set()
    assert {name for name, value in environment.items() if not value} == set()
    assert environment["NODE_NAME"] == "own-worker"
    assert (environment["NODE_IP"], environment["POD_CIDR"]) == ("172.30.0.3", "10.10.1.0/24")
    assert (environment["KUBERNETES_SERVICE_HOST"], environment["KUBERNETES_SERVICE_PORT"]) == ("172.30.0.2", "6443")


def test_the_kubeconfig_is_of_a_user_whose_group_the_role_binding_names(layout: Layout, state: StateDirectory) -> None:
    file = Path(node_program.environment(layout, layout.nodes[1], state, None)["KUBECONFIG"])
    content = yaml.safe_load(file.read_text())
    certificate = x509.load_pem_x509_certificate((state.pki / "node-program.crt").read_bytes())
    (group,) = certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)

    assert file.stat().st_mode & 0o077 == 0
    assert content["clusters"][0]["cluster"]["server"] == "https://172.30.0.2:6443"
    assert group.value == node_program.ROLE_BINDING["subjects"][0]["name"]


def test_without_the_suites_cni_containerd_reads_the_programs_directories(state: StateDirectory) -> None:
    configuration = (state.node("own-worker") / "containerd.toml").read_text()

    assert 'conf_dir = "/etc/cni/net.d"' in configuration
    assert 'bin_dirs = ["/opt/cni/bin", "/x"]' in configuration
    assert not (state.node("own-worker") / "cni").exists()
    assert not (state.node("own-worker") / "kube-proxy.yaml").exists()


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (ClusterRequest(no_kube_proxy=True, proxy_mode="nftables"), "--proxy-mode nftables says nothing with --no-k"),
        (ClusterRequest(no_kube_proxy=True, kube_proxy=Path("x")), "--kube-proxy says nothing with --no-kube-proxy"),
        (ClusterRequest(no_cni=True), "--no-cni without --node-program: no node would become Ready"),
    ],
)
def test_options_that_contradict_each_other_are_refused(request_: ClusterRequest, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resolve(request_)


def test_a_cluster_without_kube_proxy_says_so_to_the_claims(layout: Layout, state: StateDirectory) -> None:
    processes = ClusterProcesses(ProcessId(0, 0), ProcessId(0, 0), {}, 0)
    configs = EmbeddedCluster(layout, state, processes).proxy_configs

    assert configs.mode == "none"
    assert configs.not_judged == (
        "the cluster has no kube-proxy (the cluster was started with --no-kube-proxy): claims about its rules cannot be"
        " judged here"
    )


def test_a_program_that_waits_for_an_early_restart_does_not_end_the_start(
    layout: Layout, state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = ProcessId(1, 1)
    monkeypatch.setattr(ProcessId, "is_alive", True)
    cluster = EmbeddedCluster(layout, state, ClusterProcesses(alive, alive, {n.name: alive for n in layout.nodes}, 0))
    records = {"node-program": {"code": 1, "restarts": 3}}
    monkeypatch.setattr(StateDirectory, "read_node_processes", lambda *_: records)

    assert cluster.missing_processes(restarts=4) == ()
    records["node-program"]["restarts"] = 4
    assert cluster.missing_processes(restarts=4) == (
        "own-control-plane: node-program (exit code 1)",
        "own-worker: node-program (exit code 1)",
    )


def test_a_kube_proxy_that_panics_does_not_end_the_start_and_one_that_exits_does(
    layout: Layout, state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = ProcessId(1, 1)
    monkeypatch.setattr(ProcessId, "is_alive", True)
    layout = replace(
        layout, proxy_mode="iptables", node_programs={}, programs={**layout.programs, "kube-proxy": "/bin/kube-proxy"}
    )
    cluster = EmbeddedCluster(layout, state, ClusterProcesses(alive, alive, {n.name: alive for n in layout.nodes}, 0))
    records = {"kube-proxy": {"code": 2}}
    monkeypatch.setattr(StateDirectory, "read_node_processes", lambda *_: records)

    assert cluster.missing_processes(restarts=4) == ()
    assert cluster.missing_processes() != ()
    records["kube-proxy"]["code"] = 1
    assert "own-worker: kube-proxy (exit code 1)" in cluster.missing_processes(restarts=4)


class AnsweringNode:
    """A node on which curl prints what it is given; one that has ended when that is nothing."""

    def __init__(self, stdout: str = "", stderr: str = "") -> None:
        self._stdout = stdout
        self._stderr = stderr

    def run(self, argv: Sequence[str], **_: object) -> Completed:
        if not self._stdout:
            raise NodeError("n: the node has ended")
        return Completed("n", tuple(argv), 0, self._stdout, self._stderr)


def test_nodes_on_which_no_service_answers_are_named_with_the_reason() -> None:
    """An answer of the API server counts, also one that refuses the request: a Service led there."""
    nodes = {
        "serving": AnsweringNode("401"),
        "refusing": AnsweringNode("000", "curl: (7) Failed to connect\n"),
        "ended": AnsweringNode(),
    }

    silent = DataplaneStart(nodes, "10.200.1.1", lambda: None).wait(0)

    assert silent == {"refusing": "curl: (7) Failed to connect", "ended": "n: the node has ended"}


def test_a_kept_layout_has_the_programs(layout: Layout, tmp_path: Path) -> None:
    layout.write(tmp_path / "layout.json")

    assert Layout.read(tmp_path / "layout.json") == layout
    assert json.loads((tmp_path / "layout.json").read_text())["node_programs"]["worker"] == "/y/second"
    assert not replace(layout, proxy_mode="none").has_kube_proxy
