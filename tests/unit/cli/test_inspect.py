"""The command ``inspect`` as far as it reaches no cluster: arguments, help, exit codes."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest

from session_affinity.cli import main
from session_affinity.dataplane.proxy_config import ProxyConfigs
from session_affinity.errors import ClusterError, UsageError
from session_affinity.inspection import cluster as cluster_module
from session_affinity.inspection import collect as collect_module
from session_affinity.inspection.cluster import InspectedCluster
from session_affinity.nodes.nodes import Nodes
from tests.unit.inspection.conftest import objects, observation, service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from session_affinity.inspection.observation import Observation

pytestmark = pytest.mark.unit


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Namespace and name of the Services that were read; the cluster is a stand-in."""
    read: list[tuple[str, str]] = []

    @contextlib.contextmanager
    def open_cluster(*_: object) -> Iterator[InspectedCluster]:
        yield InspectedCluster(None, Nodes({}), ProxyConfigs(), "shop")  # type: ignore[arg-type]

    def collect(_: InspectedCluster, namespace: str, name: str) -> Observation:
        read.append((namespace, name))
        if name == "gone":
            raise UsageError("there is no Service gone", next_step="look")
        if name == "silent":
            raise ClusterError("no answer", next_step="see whether it runs")
        return observation(objects(service(sessionAffinity="None" if name == "none" else "ClientIP")))

    monkeypatch.setattr(cluster_module, "open_cluster", open_cluster)
    monkeypatch.setattr(collect_module, "collect", collect)
    return read


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (["cart"], ("shop", "cart")),
        (["-n", "other", "cart"], ("other", "cart")),
        (["other/cart"], ("other", "cart")),
        (["other/cart", "--namespace", "other"], ("other", "cart")),
    ],
)
def test_the_service_is_looked_for_in_its_namespace(
    arguments: list[str], place: tuple[str, str], opened: list[tuple[str, str]]
) -> None:
    assert main(["inspect", *arguments]) == 0
    assert opened == [place]


@pytest.mark.parametrize(("name", "code"), [("cart", 0), ("none", 1), ("gone", 4), ("silent", 10)])
@pytest.mark.usefixtures("opened")
def test_exit_codes(name: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", name]) == code
    printed = capsys.readouterr()
    assert bool(printed.err) == (code in (4, 10))
    assert bool(printed.out) == (code in (0, 1))


@pytest.mark.usefixtures("opened")
def test_json_is_all_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["inspect", "cart", "-o", "json"])

    assert json.loads(capsys.readouterr().out)["verdict"] == "works"


@pytest.mark.parametrize("arguments", [["a/b", "-n", "c"], ["a/"], [], ["cart", "-o", "yaml"]])
@pytest.mark.usefixtures("opened")
def test_unusable_arguments_are_usage_errors(arguments: list[str]) -> None:
    assert main(["inspect", *arguments]) == 4
