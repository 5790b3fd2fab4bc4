"""The judgement of one node about Services: a question that agents and the suite answer by the same function.

An agent answers on its node from what it reads there, the suite from a snapshot that was sent to it. Nothing here talks
to a cluster.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from session_affinity.dataplane import backends, codec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import Family, ServiceState
    from session_affinity.dataplane.proxy_config import ProxyConfig
    from session_affinity.dataplane.snapshot import NodeSnapshot

_WORD: Final = re.compile(r"[^\s\"',{}()]+")


@dataclass(frozen=True)
class LeftoverQuestion:
    """The question what a node has although no Service calls for it.

    ``others`` are all other Services of a cluster in which nothing else changes: whatever no Service calls for is a
    leftover then. With None only what belongs to ``present`` Services or to ``former`` ones, which are gone, is.
    """

    present: tuple[ServiceState, ...] = ()
    former: tuple[ServiceState, ...] = ()
    others: tuple[ServiceState, ...] | None = None


@dataclass(frozen=True)
class Question:
    """What is asked of nodes whose kube-proxy runs in one mode, about one IP family.

    ``services`` are those whose rules are compared. ``markers`` are Services whose presence is asked for; with
    ``only_marked`` a node that lacks one of them is not compared. ``leftovers`` is None where they are not asked for.
    """

    mode: str
    family: Family
    services: tuple[ServiceState, ...]
    markers: tuple[ServiceState, ...] = ()
    only_marked: bool = False
    leftovers: LeftoverQuestion | None = None


@dataclass(frozen=True)
class NodePart:
    """What the answer depends on beside the question: the node's kube-proxy, and Services as it may still have them.

    ``stale`` are states with EndpointSlices that this kube-proxy may have beside those stored: rules that follow from
    them are right there too.
    """

    proxy: ProxyConfig
    stale: tuple[ServiceState, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """The answer of one node.

    ``differences`` are those of the Services that differ, in the order of the question. ``marked`` says for each marker
    whether the node has it. ``stale`` names Services whose rules are right only as ``NodePart.stale`` has them.
    ``snapshot`` is what was judged; where an agent judged, see ``snapshot.of_another``. A node that ``lacks`` a chain
    without which it can have neither the markers nor the expected rules was not read: nothing else is known of it.
    """

    node: str
    differences: Mapping[ServiceState, tuple[Difference, ...]] = field(default_factory=dict)
    marked: tuple[bool, ...] = ()
    stale: tuple[str, ...] = ()
    leftovers: tuple[Difference, ...] = ()
    snapshot: NodeSnapshot | None = None
    lacks: str = ""

    @property
    def has_markers(self) -> bool:
        """Whether the node has every marker."""
        return all(self.marked) and not self.lacks

    @property
    def all_differences(self) -> tuple[Difference, ...]:
        """The differences of all Services."""
        return tuple(difference for of_service in self.differences.values() for difference in of_service)

    @property
    def is_equal(self) -> bool:
        """Whether the node has neither a difference nor a leftover."""
        return not self.differences and not self.leftovers and not self.lacks

    def on(self, node: str, snapshot: NodeSnapshot) -> Judgement:
        """Return the same judgement of another node."""
        differences = {service: _on(node, found) for service, found in self.differences.items()}
        return replace(self, node=node, differences=differences, leftovers=_on(node, self.leftovers), snapshot=snapshot)

    def digest(self) -> str:
        """Return a digest of what was found, equal on nodes where the same was found."""
        found = [[service.key, [*map(codec.encoded, _on("", found))]] for service, found in self.differences.items()]
        return digest_of([found, self.marked, self.stale, [*map(codec.encoded, _on("", self.leftovers))]])


def needed_chain(node: str, question: Question, part: NodePart) -> str:
    """Return a chain without which a node need not be judged now: it does not have what is waited for.

    That are the markers where only nodes with them are compared, and otherwise the rules of the Services; of the
    youngest, which kube-proxy learns of last. Empty where no chain says so. Raises as ``judge`` does.
    """
    backend = backends.of_mode(question.mode)
    services = question.markers if question.only_marked else question.services
    chains = (backend.needed_chain(service, part.proxy, node) for service in reversed(services))
    return next(filter(None, chains), "")


def judge(snapshot: NodeSnapshot, question: Question, part: NodePart) -> Judgement:
    """Return a node's judgement; raises ClusterError for a mode whose rules are not known."""
    backend = backends.of_mode(question.mode)
    marked = tuple(backend.has_service(snapshot, marker) for marker in question.markers)
    if question.only_marked and not all(marked):
        return Judgement(snapshot.node, marked=marked, snapshot=snapshot)
    compared = (*question.services, *(question.markers if question.only_marked else ()))
    wrong = _wrong(backend, snapshot, compared, part.proxy)
    stale: tuple[str, ...] = ()
    if wrong and part.stale:
        markers = question.markers if question.only_marked else ()
        found = backend.compare_many(snapshot, (*part.stale, *markers), part.proxy)
        right = {service.name for service, differences in found.items() if not differences}
        stale = tuple(service.name for service in wrong if service.name in right)
        wrong = {service: differences for service, differences in wrong.items() if service.name not in right}
    leftovers = tuple(_leftovers(backend, snapshot, question, part, compared)) if question.leftovers else ()
    return Judgement(snapshot.node, wrong, marked, stale, leftovers, snapshot)


def digest(snapshot: NodeSnapshot, question: Question) -> str:
    """Return a digest of a node's rules for the Services of a question, equal on nodes that have the same rules."""
    backend = backends.of_mode(question.mode)
    compared = (*question.services, *question.markers)
    return digest_of([backend.normalised(snapshot, service) for service in compared])


def digest_of(data: Any) -> str:
    """Return a digest of JSON data."""
    return hashlib.sha256(json.dumps(data, separators=(",", ":")).encode()).hexdigest()[:32]


def part_of(node: str, proxy: ProxyConfig, stale: Sequence[ServiceState] = ()) -> NodePart:
    """Return a node's part, with what the settings say about this node alone: that is all its rules depend on."""
    zones = {node: proxy.zones[node]} if node in proxy.zones else {}
    addresses = {node: proxy.node_addresses[node]} if node in proxy.node_addresses else {}
    return NodePart(replace(proxy, zones=zones, node_addresses=addresses, source=""), tuple(stale))


def _wrong(
    backend: Backend, snapshot: NodeSnapshot, services: Iterable[ServiceState], proxy: ProxyConfig
) -> dict[ServiceState, tuple[Difference, ...]]:
    by_service = backend.compare_many(snapshot, services, proxy)
    return {service: found for service, found in by_service.items() if found}


def _leftovers(
    backend: Backend, snapshot: NodeSnapshot, question: Question, part: NodePart, compared: Sequence[ServiceState]
) -> Iterator[Difference]:
    asked = question.leftovers
    assert asked is not None
    right = (*compared, *part.stale, *(asked.others or ()))
    unused = backend.leftovers(snapshot, right, part.proxy).differences
    if asked.others is not None:
        yield from unused
        return
    owners = (*asked.present, *asked.former)
    names = {name for owner in owners for name in backend.possible_names(owner)}
    yield from _of_owners(unused, asked.present, owners, names)


def _of_owners(
    unused: Iterable[Difference], present: Sequence[ServiceState], owners: Sequence[ServiceState], names: set[str]
) -> Iterator[Difference]:
    """Yield the leftovers that belong to these Services.

    One belongs to them by a name of theirs, by the name of a Service in a comment, or by an address. The cluster IP of
    a Service that is gone may be another's by now.
    """
    keys = {owner.key for owner in owners}
    addresses = {address for owner in present for address in owner.cluster_ips}
    addresses |= {address for owner in owners for address in (*owner.external_ips, *owner.balancer_ips)}
    for difference in unused:
        words = {difference.chain, *_WORD.findall(f"{difference.seen} {difference.reason}")}
        if any(
            word in names or word.partition("/")[0] in addresses or word.partition(":")[0] in keys for word in words
        ):
            yield difference


def _on(node: str, differences: Iterable[Difference]) -> tuple[Difference, ...]:
    return tuple(replace(difference, node=node) for difference in differences)
