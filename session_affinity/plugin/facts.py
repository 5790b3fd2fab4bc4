"""What a run is on and where its time goes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity import about
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import NODES

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from session_affinity.clusters.cluster import Cluster
    from session_affinity.dataplane.model import ProxyConfig
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.kube.api import Api
    from session_affinity.nodes.nodes import Nodes
    from session_affinity.progress import Progress

SHARED_SECONDS = pytest.StashKey[float]()
"""What a test's setup spent on things that the whole run shares, in seconds."""
_MANY_WORDS = "_"


@dataclass
class RunFacts:
    """Facts of the cluster, and seconds by phase: those of its start, then every shared fixture that took some."""

    facts: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    progress: Progress | None = None
    began: float = field(default_factory=time.monotonic)
    # One open fixture a level: what the ones below it took is theirs.
    nested: list[float] = field(default_factory=list)
    item: pytest.Item | None = None
    # What the whole run shares, by the name of its fixture, for whoever comes to report without asking for it.
    shared: dict[str, Any] = field(default_factory=dict)

    @property
    def cluster(self) -> Cluster | None:
        """The cluster, once it runs."""
        return self.shared.get("cluster")

    @property
    def nodes(self) -> Nodes | None:
        """The nodes, once a test has asked for them."""
        return self.shared.get("nodes")

    @property
    def proxy(self) -> ProxyConfig | None:
        """How kube-proxy is set, once it is known."""
        return self.shared.get("proxy")

    def remember(self, readings: Iterable[Mapping[str, NodeSnapshot]]) -> None:
        """Take from the first reading of a node by which program its rules were told."""
        for state in (state for reading in readings for state in reading.values() if state.program):
            self.facts.setdefault("rules read with", f"{state.program}, {state.variant}")
            return

    def phases(self) -> dict[str, float]:
        """Return the seconds of each phase that took a tenth of one."""
        inner = dict(self.progress.timings) if self.progress else {}
        own = {**inner, **{name: taken for name, taken in self.seconds.items() if not inner or name != "cluster"}}
        return {name: taken for name, taken in own.items() if taken >= 0.05}


RUN_FACTS = pytest.StashKey[RunFacts]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count."""
    config.stash[RUN_FACTS] = RunFacts()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note whose setup it is that shared fixtures are made in."""
    item.config.stash[RUN_FACTS].item = item


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Count what shared fixtures take, each without those it asks for."""
    if fixturedef.scope == "function":
        return (yield)
    counted = request.config.stash[RUN_FACTS]
    counted.nested.append(0.0)
    began = time.monotonic()
    try:
        made = yield
        counted.shared[fixturedef.argname] = made
        return made
    finally:
        taken = time.monotonic() - began
        name = fixturedef.argname.replace(_MANY_WORDS, " ")
        counted.seconds[name] = taken - counted.nested.pop()
        if counted.nested:
            counted.nested[-1] += taken
        elif counted.item is not None:
            counted.item.stash[SHARED_SECONDS] = counted.item.stash.get(SHARED_SECONDS, 0.0) + taken


def visible_nodes(api: Api) -> list[dict[str, Any]]:
    """Return the nodes; none where the user may not list them, which takes nothing from the claims about behaviour."""
    try:
        return api.objects(NODES)
    except ApiError as error:
        if error.status != 403:
            raise
        return []


def facts_of(cluster: Cluster, nodes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return what a reader of the report has to know to compare it with another."""
    told = [node["status"]["nodeInfo"] for node in nodes]

    def all_of(name: str) -> str:
        return ", ".join(sorted({str(one[name]) for one in told}))

    return {
        "cluster": cluster.name,
        "provider": cluster.provider,
        "Kubernetes": all_of("kubeletVersion"),
        "nodes": str(len(told)),
        "kernel": all_of("kernelVersion"),
        "operating system": all_of("osImage"),
        "container runtime": all_of("containerRuntimeVersion"),
        "suite": " ".join(filter(None, (about.version(), about.commit()))),
        **cluster.facts,
    }
