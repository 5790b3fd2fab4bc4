"""Compare the rules of all hand-made Services on all nodes with the expected ones, once the nodes have synced them.

A sentinel, a hand-made Service created after all else, shows which nodes have: kube-proxy receives Services, and
EndpointSlices, in the order of their changes, so the rules of a node that has the sentinel follow from everything
before it. Those very rules are compared; a node that has the sentinel and differs is wrong and not late.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from session_affinity import recorder
from session_affinity.cluster_objects import handmade
from session_affinity.cluster_objects.labels import unique_name
from session_affinity.dataplane.judgement import LeftoverQuestion, NodePart, Question, part_of
from session_affinity.dataplane.model import PROXY_NAME_LABEL, SERVICE_NAME_LABEL
from session_affinity.errors import NotReadyError
from session_affinity.nodes.by_node import ByNode, require_nodes
from session_affinity.testbed.testbed import FIRST_READ_SECONDS, LONGEST_WAIT, POLL_SECONDS
from session_affinity.text import listed
from session_affinity.waiting import SLOW_MACHINE, poll

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from session_affinity.cluster_objects.handmade import HandMadeServices
    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.judgement import Judgement
    from session_affinity.dataplane.model import Family, ServiceState
    from session_affinity.kube.api import Object
    from session_affinity.releases import Release
    from session_affinity.testbed.testbed import RulesOfNodes, Testbed

SENTINEL_ENDPOINT: Final[Mapping[Family, str]] = {"IPv4": "192.0.2.1", "IPv6": "2001:db8::1"}
"""The endpoint of the sentinel: an address for documentation (RFC 5737, RFC 3849), to which nothing is sent."""


@dataclass(frozen=True)
class Comparison:
    """The rules of every node for all hand-made Services of one IP family, compared with the expected ones.

    ``services`` are the states that were expected. ``differences`` has for each node that was compared the Services
    that differ, with their differences; ``leftovers`` what each has although no Service calls for it and which belongs
    to a hand-made Service, present or former. ``late`` are nodes that did not have the sentinel in time; they are not
    compared. ``missing`` are nodes that could not be read, with the reasons, and ``allowed_missing`` is how many of
    them a claim about every node may lack. ``stale`` has for each node the names of Services whose rules are right only
    with the stale slices that were given.

    ``programmed`` has the seconds from ``since`` to the first read of a node with the sentinel. ``judge_seconds`` is
    how long the last reading and comparison of nodes took. ``owners`` are the states to pass as ``former`` once these
    Services are gone.
    """

    services: tuple[ServiceState, ...]
    differences: Mapping[str, Mapping[ServiceState, tuple[Difference, ...]]]
    leftovers: Mapping[str, tuple[Difference, ...]]
    programmed: Mapping[str, float]
    late: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    allowed_missing: int = 0
    judge_seconds: float = 0.0
    owners: tuple[ServiceState, ...] = ()
    stale: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_equal(self) -> bool:
        """Whether no node that was compared has a difference or a leftover."""
        return not any(self.differences.values()) and not any(self.leftovers.values())

    def require(self) -> Comparison:
        """Return self when every node was compared; raises NotReadyError for late nodes, NodeError for missing ones."""
        require_nodes(self.missing, self.allowed_missing)
        if self.late:
            raise NotReadyError(
                f"{listed(self.late)}: did not program a Service created after {len(self.services)} others in time",
                next_step=f"see in the log of kube-proxy there whether its syncs fail; {SLOW_MACHINE}",
            )
        return self


def merged(comparisons: Sequence[Comparison]) -> Comparison:
    """Return comparisons of different Services on the same nodes as if they had been made at the same time.

    A node counts as compared if it was each time, or if it ever differed. ``programmed`` is each node's slowest time,
    ``judge_seconds`` the sum.
    """
    nodes = dict.fromkeys(node for comparison in comparisons for node in comparison.differences)
    differences = {
        node: {
            service: found
            for comparison in comparisons
            for service, found in comparison.differences.get(node, {}).items()
        }
        for node in nodes
    }
    leftovers = {
        node: tuple(left for comparison in comparisons for left in comparison.leftovers.get(node, ())) for node in nodes
    }
    compared = [
        node
        for node in nodes
        if differences[node] or leftovers[node] or all(node in comparison.differences for comparison in comparisons)
    ]
    return Comparison(
        tuple(service for comparison in comparisons for service in comparison.services),
        {node: differences[node] for node in compared},
        {node: leftovers[node] for node in compared},
        {
            node: max(comparison.programmed.get(node, 0.0) for comparison in comparisons)
            for node in dict.fromkeys(node for comparison in comparisons for node in comparison.programmed)
        },
        tuple(dict.fromkeys(node for comparison in comparisons for node in comparison.late)),
        {node: reason for comparison in comparisons for node, reason in comparison.missing.items()},
        max((comparison.allowed_missing for comparison in comparisons), default=0),
        sum(comparison.judge_seconds for comparison in comparisons),
        tuple(dict.fromkeys(owner for comparison in comparisons for owner in comparison.owners)),
        {
            node: tuple(name for comparison in comparisons for name in comparison.stale.get(node, ()))
            for node in dict.fromkeys(node for comparison in comparisons for node in comparison.stale)
        },
    )


def aware_of_nodes(testbed: Testbed, nodes: Iterable[Mapping[str, Any]]) -> Testbed:
    """Return a testbed that knows the zones and addresses of nodes, which hints and source ranges depend on."""
    return replace(testbed, proxy_configs=testbed.proxy_configs.with_nodes(nodes))


def compare(
    testbed: RulesOfNodes,
    services: HandMadeServices,
    *,
    since: float,
    former: Iterable[ServiceState] = (),
    others: Iterable[ServiceState] | None = None,
    patience: float = 0.0,
    stale_slices: Mapping[str, Sequence[Object]] = MappingProxyType({}),
) -> Comparison:
    """Wait until all nodes have synced the hand-made Services as stored now, and compare their rules.

    ``since`` is the ``time.monotonic()`` of the last change. Each node is compared with what follows for the release of
    its kube-proxy. ``former`` are states of Services that are gone, whose leftovers are looked for. ``others`` are all
    other Services of a cluster in which nothing else changes: whatever no Service calls for is a leftover then, and not
    only what belongs to hand-made ones. With ``patience`` a node that differs is read again for so many seconds: for
    changes that kube-proxy receives apart from Services and EndpointSlices, such as a node's zone.
    Nobody else may change hand-made Services meanwhile. ``stale_slices`` are slices that a node's kube-proxy may have
    beside those stored: rules that follow from both are right there too. Raises ApiError.
    """
    began = time.time()
    with recorder.suppressed():
        request = _Request(since, tuple(former), None if others is None else tuple(others), patience, stale_slices)
        comparison = _compare(testbed, services, request)
    nodes = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in comparison.programmed.items())
    recorder.record(
        recorder.Action(f"compared {len(comparison.services)} hand-made Services on every node, synced: {nodes}"),
        since=began,
    )
    return comparison


@dataclass(frozen=True)
class _Request:
    """What ``compare`` was asked for."""

    since: float
    former: tuple[ServiceState, ...]
    others: tuple[ServiceState, ...] | None
    patience: float
    stale_slices: Mapping[str, Sequence[Object]]


def _compare(testbed: RulesOfNodes, services: HandMadeServices, request: _Request) -> Comparison:
    family = testbed.nodes.family
    sentinel = _sentinel(family)
    created = services.create(sentinel)
    try:
        (sentinel_state,) = handmade.states([created[0]], [created[1]], family=family)
        stored, slices = services.stored()
        stored = [service for service in stored if service["metadata"]["name"] != sentinel_state.name]
        nodes = (*testbed.nodes.names, *testbed.nodes.missing)
        releases = {node: testbed.proxy_configs.of_any(node).expected_release for node in nodes}
        states = {
            release: tuple(handmade.states(stored, slices, family=family, release=release))
            for release in sorted(set(releases.values()), reverse=True)
        }
        proxied = [
            state
            for release in states
            for state in handmade.states(map(_without_labels, stored), slices, family=family, release=release)
        ]
        owners = tuple(dict.fromkeys((*(state for of_release in states.values() for state in of_release), *proxied)))
        with_stale = {
            node: handmade.states(stored, (*slices, *stale), family=family, release=releases[node])
            for node, stale in request.stale_slices.items()
            if stale
        }
        reading = _Reading(testbed, states, releases, sentinel_state, owners, request=request, with_stale=with_stale)
        # A late node violates no claim, so on a busy machine it gets more time.
        seconds = LONGEST_WAIT * testbed.sync_seconds
        if not poll(reading.all_have_the_sentinel, seconds, pause=POLL_SECONDS, first=FIRST_READ_SECONDS):
            reading.all_have_the_sentinel(awaited=False)
        if request.patience:
            poll(reading.all_are_equal, request.patience, pause=POLL_SECONDS)
    finally:
        services.delete(sentinel)
    return replace(reading.comparison(), owners=owners)


class _Reading:
    """Asks nodes until they have the sentinel; what they are found to have then counts.

    ``expected`` are the states of the same Services, in the same order, by release of kube-proxy, and ``releases`` are
    those of the nodes. The states of the first release stand for all in the result.
    """

    def __init__(
        self,
        testbed: RulesOfNodes,
        expected: Mapping[Release, tuple[ServiceState, ...]],
        releases: Mapping[str, Release],
        sentinel: ServiceState,
        owners: Sequence[ServiceState],
        *,
        request: _Request,
        with_stale: Mapping[str, Sequence[ServiceState]],
    ) -> None:
        self._testbed = testbed
        self._states = next(iter(expected.values()), ())
        # Most Services are the same in all releases: nodes are asked about all that is equal at once.
        asked = {
            release: next(each for each in expected if expected[each] == expected[release]) for release in expected
        }
        self._releases = {node: asked[release] for node, release in releases.items()}
        self._questions = {
            release: Question(
                testbed.backend.mode,
                testbed.nodes.family,
                expected[release],
                markers=(sentinel,),
                only_marked=True,
                leftovers=LeftoverQuestion(tuple(owners), request.former, request.others),
            )
            for release in dict.fromkeys(asked.values())
        }
        self._since = request.since
        nodes = testbed.nodes
        self._late = dict.fromkeys((*nodes.names, *nodes.missing))
        self._missing: dict[str, str] = {}
        self._programmed: dict[str, float] = {}
        self._differences: dict[str, Mapping[ServiceState, tuple[Difference, ...]]] = {}
        self._leftovers: dict[str, tuple[Difference, ...]] = {}
        self._with_stale = with_stale
        self._stale: dict[str, tuple[str, ...]] = {}
        self._judge_seconds = 0.0

    def all_have_the_sentinel(self, *, awaited: bool = True) -> bool:
        """Ask the nodes that did not have the sentinel, keep the answers of those that do; whether all have it.

        ``awaited`` as for ``Nodes.judge``.
        """
        for name, found in self._judge(self._late, awaited=awaited).items():
            if found.has_markers:
                self._programmed[name] = time.monotonic() - self._since
                del self._late[name]
                self._keep(found)
        return not self._late

    def all_are_equal(self) -> bool:
        """Ask the nodes that differ again; whether none is left."""
        wrong = {name: None for name in self._differences if self._differences[name] or self._leftovers[name]}
        for found in self._judge(wrong).values() if wrong else ():
            self._keep(found)
        return not any(self._differences[name] or self._leftovers[name] for name in wrong)

    def comparison(self) -> Comparison:
        """Return what was found."""
        return Comparison(
            self._states,
            self._differences,
            self._leftovers,
            self._programmed,
            tuple(self._late),
            self._missing,
            self._testbed.nodes.allowed_missing,
            self._judge_seconds,
            stale=self._stale,
        )

    def _judge(self, names: dict[str, None], *, awaited: bool = False) -> Mapping[str, Judgement]:
        """Return the judgements of nodes; those that cannot be read are struck off the names."""
        began = time.monotonic()
        judged = self._judged(names, awaited=awaited)
        self._judge_seconds = time.monotonic() - began
        for name in judged.missing:
            names.pop(name)
            self._differences.pop(name, None)
            self._leftovers.pop(name, None)
        self._missing |= judged.missing
        return judged.readable

    def _judged(self, names: Iterable[str], *, awaited: bool) -> ByNode[Judgement]:
        """Ask nodes with the same expected states at once."""
        found: dict[str, Judgement] = {}
        missing: dict[str, str] = {}
        for release, question in self._questions.items():
            asked = tuple(name for name in names if self._releases[name] == release)
            if asked:
                judged = self._testbed.nodes.judge(question, self._part, asked, awaited=awaited)
                found |= {name: self._in_common(question, each) for name, each in judged.readable.items()}
                missing |= judged.missing
        return ByNode(found, missing)

    def _in_common(self, question: Question, judgement: Judgement) -> Judgement:
        """Return a judgement with the Services as they stand in the result; the sentinel is the same in all."""
        if not judgement.differences or question.services is self._states:
            return judgement
        common = dict(zip(question.services, self._states, strict=True))
        found = judgement.differences.items()
        return replace(judgement, differences={common.get(service, service): each for service, each in found})

    def _part(self, node: str) -> NodePart:
        return part_of(node, self._testbed.proxy_of(node), self._with_stale.get(node, ()))

    def _keep(self, found: Judgement) -> None:
        self._differences[found.node] = found.differences
        self._leftovers[found.node] = found.leftovers
        if found.stale:
            self._stale[found.node] = found.stale


def _without_labels(service: Mapping[str, Any]) -> Object:
    """Return a Service without the label that takes it away from kube-proxy."""
    labels = {name: value for name, value in service["metadata"].get("labels", {}).items() if name != PROXY_NAME_LABEL}
    return {**service, "metadata": {**service["metadata"], "labels": labels}}


def _sentinel(family: Family) -> tuple[Object, Object]:
    """Return a Service and its slice."""
    name = unique_name("sentinel")
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ipFamilyPolicy": "SingleStack", "ipFamilies": [family], "ports": [{"port": 80, "protocol": "TCP"}]},
    }
    endpoint_slice = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {SERVICE_NAME_LABEL: name}},
        "addressType": family,
        "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
        "endpoints": [{"addresses": [SENTINEL_ENDPOINT[family]], "conditions": {"ready": True}}],
    }
    return service, endpoint_slice
