"""Parse kube-proxy's table from ``nft -j list table`` into chains, sets and verdict maps."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from session_affinity.dataplane.nftables.rules import NftRule, protocol, read_rule, word, words
from session_affinity.errors import NodeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Key = tuple[str, ...]
"""The parts of an element's key: an address, or an address with a protocol and a port."""

_OF_SERVICE = re.compile(r"[a-z]+-[A-Z2-7]{8}-(?P<service>[^/]+/[^/]+)/")


@dataclass(frozen=True)
class Element:
    """An element of a set; ``expires`` is the time left in seconds, rounded down, None for one without a timeout.

    ``timeout`` is None when the element has the timeout of its set.
    """

    key: Key
    timeout: float | None = None
    expires: float | None = None


@dataclass(frozen=True)
class NftSet:
    """A set; ``type`` has the types of a key's parts, ``timeout`` is in seconds, None when the set has none.

    ``size`` is how many elements it has room for, None for no limit. Releases of nft differ in the ``flags`` they
    print: old ones leave ``dynamic`` out.
    """

    name: str
    type: Key = ()
    timeout: float | None = None
    elements: Mapping[Key, Element] = field(default_factory=dict)
    size: int | None = None
    flags: Key = ()


@dataclass(frozen=True)
class Hook:
    """Where the kernel enters a base chain: ``kind`` is filter or nat, ``point`` is prerouting, input and so on."""

    kind: str
    point: str


@dataclass(frozen=True)
class Table:
    """kube-proxy's table of one IP family; ``maps`` are the verdict maps, each from key to verdict.

    ``hooks`` are those of the base chains by name.
    """

    sets: Mapping[str, NftSet] = field(default_factory=dict)
    maps: Mapping[str, Mapping[Key, str]] = field(default_factory=dict)
    printed_rules: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """The rules of each chain as printed, in order; they are parsed on first use."""
    hooks: Mapping[str, Hook] = field(default_factory=dict)
    _parsed: dict[str, tuple[NftRule, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __contains__(self, chain: str) -> bool:
        return chain in self.printed_rules

    def rules(self, chain: str) -> tuple[NftRule, ...]:
        """Return the rules of a chain; empty when it does not exist."""
        if chain not in self._parsed:
            rules = self.printed_rules.get(chain, ())
            self._parsed[chain] = tuple(read_rule(chain, number, rule) for number, rule in enumerate(rules, 1))
        return self._parsed[chain]

    def named_after(self, service: str) -> tuple[str, ...]:
        """Return the chains and sets with a Service's ``namespace/name`` in their names, of any port and endpoint."""
        return self._by_service.get(service, ())

    def elements_of(self, address: str) -> Sequence[tuple[str, Key, str]]:
        """Return map, key and verdict of every element whose key begins with an address."""
        return self._by_address.get(address, ())

    def elements_to(self, chain: str) -> Sequence[tuple[str, Key, str]]:
        """Return map, key and verdict of every element whose verdict leads to a chain."""
        return self._by_target.get(chain, ())

    def leads_to_another_service(self, address: str, service: str) -> bool:
        """Return whether an address leads to chains of another Service: the API reuses addresses that are free."""
        targets = (_OF_SERVICE.match(verdict.rpartition(" ")[2]) for _, _, verdict in self.elements_of(address))
        return any(target and target["service"] != service for target in targets)

    @cached_property
    def _by_service(self) -> Mapping[str, tuple[str, ...]]:
        names: dict[str, list[str]] = defaultdict(list)
        for name in (*self.printed_rules, *self.sets):
            if match := _OF_SERVICE.match(name):
                names[match["service"]].append(name)
        return {service: tuple(names_of_service) for service, names_of_service in names.items()}

    @cached_property
    def _by_address(self) -> Mapping[str, Sequence[tuple[str, Key, str]]]:
        elements: dict[str, list[tuple[str, Key, str]]] = defaultdict(list)
        for element in self._elements():
            elements[element[1][0]].append(element)
        return elements

    @cached_property
    def _by_target(self) -> Mapping[str, Sequence[tuple[str, Key, str]]]:
        elements: dict[str, list[tuple[str, Key, str]]] = defaultdict(list)
        for element in self._elements():
            elements[element[2].partition(" ")[2]].append(element)
        return elements

    def _elements(self) -> Iterator[tuple[str, Key, str]]:
        return ((name, key, verdict) for name, elements in self.maps.items() for key, verdict in elements.items())


def parse(printed: Mapping[str, Any]) -> Table:
    """Parse the JSON of ``nft -j list table``; raises NodeError when it has another shape."""
    sets: dict[str, NftSet] = {}
    maps: dict[str, Mapping[Key, str]] = {}
    rules: dict[str, list[Mapping[str, Any]]] = {}
    hooks: dict[str, Hook] = {}
    try:
        for kind, item in (pair for entry in printed["nftables"] for pair in entry.items()):
            match kind:
                case "chain":
                    rules.setdefault(item["name"], [])
                    if "hook" in item:
                        hooks[item["name"]] = Hook(item.get("type") or "", item["hook"])
                case "rule":
                    rules.setdefault(item["chain"], []).append(item)
                case "set":
                    sets[item["name"]] = _set(item)
                case "map" if item.get("map") == "verdict":
                    types = words(item["type"])
                    elements = item.get("elem") or ()
                    maps[item["name"]] = {_element(key, types).key: word(verdict) for key, verdict in elements}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NodeError(f"nft printed a table that cannot be read: {type(error).__name__}: {error}") from error
    return Table(MappingProxyType(sets), MappingProxyType(maps), MappingProxyType(rules), hooks=MappingProxyType(hooks))


def _set(item: Mapping[str, Any]) -> NftSet:
    types = words(item["type"])
    elements = (_element(element, types) for element in item.get("elem") or ())
    return NftSet(
        item["name"],
        types,
        item.get("timeout"),
        MappingProxyType({element.key: element for element in elements}),
        item.get("size"),
        words(item.get("flags") or ()),
    )


def _element(printed: Any, types: Key) -> Element:
    """Return an element, printed as its bare key or as an object with timeout and expiry."""
    fields = printed.get("elem") if isinstance(printed, dict) else None
    value = fields["val"] if fields else printed
    parts = value["concat"] if isinstance(value, dict) and "concat" in value else [value]
    part_types = types if len(types) == len(parts) else ("",) * len(parts)
    key = tuple(
        protocol(word(part)) if part_type == "inet_proto" else word(part)
        for part, part_type in zip(parts, part_types, strict=True)
    )
    return Element(key, fields.get("timeout"), fields.get("expires")) if fields else Element(key)
