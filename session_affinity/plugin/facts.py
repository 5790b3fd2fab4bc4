"""Facts about the cluster of a run, and the seconds that its set-up took."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest

from session_affinity import about
from session_affinity.dataplane.recognition import Recognition
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import NODES
from session_affinity.plugin.phases import SetupTimes, long_enough

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from session_affinity.clusters.cluster import Cluster
    from session_affinity.dataplane.proxy_config import ProxyConfigs
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.kube.api import Api
    from session_affinity.nodes.nodes import Nodes
    from session_affinity.progress import Progress

IN_BATCHES: Final = "generated Services in batches"
"""The fact that not all Services of every shape existed at the same time: in how many batches, and why."""
SHARED_SECONDS = pytest.StashKey[float]()
"""The seconds of a test's setup that were spent in shared fixtures."""


@dataclass
class RunFacts:
    """Facts about the cluster, the objects to read it with, and the seconds of each phase of the run.

    ``cluster``, ``api``, ``nodes``, ``proxy_configs`` and ``recognition`` are set by the fixtures of these names, for
    the hooks that write the report: a hook cannot request a fixture. They are None, or empty, until then.
    ``cluster_steps`` are the names and seconds of the steps in which the cluster started.
    """

    facts: dict[str, str] = field(default_factory=dict)
    cluster: Cluster | None = None
    api: Api | None = None
    nodes: Nodes | None = None
    proxy_configs: ProxyConfigs | None = None
    recognition: Recognition = field(default_factory=Recognition)
    progress: Progress | None = None
    cluster_steps: tuple[tuple[str, float], ...] = ()
    times: SetupTimes = field(default_factory=SetupTimes)
    began: float = field(default_factory=time.monotonic)

    def learn_program(self, snapshots: Iterable[Mapping[str, NodeSnapshot]]) -> None:
        """Add the program that printed the rules of a node to the facts, from the first snapshot that names one."""
        for state in (state for states in snapshots for state in states.values() if state.program):
            self.facts.setdefault("rules read with", f"{state.program}, {state.variant}")
            return

    def learn_missing_nodes(self) -> None:
        """Add the number of nodes that were judged to the facts, and which were not, with the reasons."""
        if self.nodes is None or not self.nodes.names:
            return
        missing = self.nodes.missing
        self.facts["nodes judged"] = str(sum(name not in missing for name in self.nodes.names))
        if self.proxy_configs is not None and (left_out := self.proxy_configs.left_out):
            self.facts["nodes left out"] = left_out
        if missing:
            self.facts["nodes missing"] = "; ".join(f"{name}: {reason}" for name, reason in missing.items())

    def phases(self) -> dict[str, float]:
        """Return the seconds of each phase by name: shared set-up, then the steps after the start of the cluster."""
        steps = self.progress.timings[len(self.cluster_steps) :] if self.progress else []
        return {**self.times.phases(), **long_enough(dict(steps))}


RUN_FACTS = pytest.StashKey[RunFacts]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin with no facts."""
    config.stash[RUN_FACTS] = RunFacts()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Note the part of a test's setup that was spent in shared fixtures."""
    times = item.config.stash[RUN_FACTS].times
    before = times.total()
    try:
        return (yield)
    finally:
        item.stash[SHARED_SECONDS] = times.total() - before


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Measure fixtures that tests share."""
    if fixturedef.scope == "function":
        return (yield)
    with request.config.stash[RUN_FACTS].times.measure(fixturedef.argname):
        return (yield)


def visible_nodes(api: Api) -> list[dict[str, Any]]:
    """Return the nodes; none when the user may not list them, which no claim about behaviour depends on."""
    try:
        return api.objects(NODES)
    except ApiError as error:
        if error.status != 403:
            raise
        return []


def facts_of(cluster: Cluster, nodes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the facts by which runs can be compared: cluster, versions, kernel, operating system, suite."""
    infos = [node["status"]["nodeInfo"] for node in nodes]

    def values(name: str) -> str:
        return ", ".join(sorted({str(info[name]) for info in infos}))

    return {
        "cluster": cluster.name,
        "provider": cluster.provider,
        "Kubernetes": values("kubeletVersion"),
        "nodes": str(len(infos)),
        "kernel": values("kernelVersion"),
        "operating system": values("osImage"),
        "container runtime": values("containerRuntimeVersion"),
        "suite": " ".join(filter(None, (about.version(), about.commit()))),
        **cluster.proxy_configs.facts(),
        **cluster.facts,
    }
