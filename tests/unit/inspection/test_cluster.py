"""Which cluster is inspected."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity import extras
from session_affinity.clusters.kind import engine, readiness
from session_affinity.clusters.kind.engine import Container
from session_affinity.clusters.kind.state import KindRecord, KindState
from session_affinity.clusters.options import ClusterOptions
from session_affinity.dataplane.proxy_config import ProxyConfig
from session_affinity.errors import UsageError
from session_affinity.inspection.cluster import open_cluster
from session_affinity.progress import quiet

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

CONTAINERS = (Container("1", "dev-control-plane", "running"), Container("2", "dev-worker", "running"))
RECORD = KindRecord("image", "1.37.0", "iptables", network_was_there=True, kept=True)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without clusters."""
    monkeypatch.setenv("SESSION_AFFINITY_STATE", str(tmp_path))


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind cluster, dev, that an earlier run kept."""
    fake: Any = SimpleNamespace(program="docker", containers=lambda _: CONTAINERS)
    monkeypatch.setattr(engine, "detect", lambda: fake)
    monkeypatch.setattr(readiness, "kube_proxy_config", lambda _: ProxyConfig("iptables", "10.244.0.0/16"))
    nodes = {container.name: container.id for container in CONTAINERS}
    KindState("dev").begin({}, RECORD)
    KindState("dev").write(KindRecord("image", "1.37.0", "iptables", network_was_there=True, kept=True, nodes=nodes))


def opened(**options: Any) -> tuple[str, ...]:
    with open_cluster(ClusterOptions(**options), quiet()) as cluster:
        return cluster.nodes.names


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("where", ["auto", "kind"])
def test_a_kept_kind_cluster_is_found_with_its_nodes(where: str) -> None:
    assert opened(cluster=where, name="dev") == ("dev-control-plane", "dev-worker")


@pytest.mark.usefixtures("kept")
def test_a_cluster_of_another_kind_is_not_taken_in_its_place() -> None:
    with pytest.raises(UsageError, match="no embedded cluster dev runs here"):
        opened(cluster="embedded", name="dev")


def test_without_a_running_cluster_and_kubeconfig_nothing_is_taken() -> None:
    with pytest.raises(UsageError, match=r"no cluster gone runs here.*\n  next: .*--kubeconfig"):
        opened(name="gone")


def test_a_cluster_whose_start_was_interrupted_is_none() -> None:
    KindState("dev").begin({}, RECORD)

    with pytest.raises(UsageError, match="no kind cluster dev runs here"):
        opened(cluster="kind", name="dev")


def test_a_kind_whose_packages_are_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "missing", lambda _: ("pyroute2",))

    with pytest.raises(UsageError, match="--cluster embedded needs Python packages"):
        opened(cluster="embedded", name="dev")
    with pytest.raises(UsageError, match="no cluster dev runs here"):
        opened(name="dev")


def test_a_kubeconfig_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the kubeconfig"):
        opened(kubeconfig=tmp_path / "none")
