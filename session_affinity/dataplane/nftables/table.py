"""kube-proxy's nftables table as ``nft -j list table`` prints it, as chains, sets and maps that can be asked."""

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
"""The parts of an element: an address, or an address with a protocol and a port."""

_OF_SERVICE = re.compile(r"[a-z]+-[A-Z2-7]{8}-(?P<service>[^/]+/[^/]+)/")


@dataclass(frozen=True)
class Element:
    """An element of a set. ``expires`` is in seconds, rounded down; both are None where there is no timeout.

    ``timeout`` is its own, None where it is that of the set.
    """

    key: Key
    timeout: float | None = None
    expires: float | None = None


@dataclass(frozen=True)
class NftSet:
    """A set; ``type`` is the types of a key's parts, ``timeout`` is in seconds and None without one."""

    name: str
    type: Key = ()
    timeout: float | None = None
    elements: Mapping[Key, Element] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """The table of kube-proxy in one IP family. ``maps`` are verdict maps, each from key to verdict."""

    sets: Mapping[str, NftSet] = field(default_factory=dict)
    maps: Mapping[str, Mapping[Key, str]] = field(default_factory=dict)
    written: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """The rules of each chain as printed, in order."""
    _read: dict[str, tuple[NftRule, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __contains__(self, chain: str) -> bool:
        return chain in self.written

    def rules(self, chain: str) -> tuple[NftRule, ...]:
        """Return the rules of a chain, none when there is no such chain."""
        if chain not in self._read:
            rules = self.written.get(chain, ())
            self._read[chain] = tuple(read_rule(chain, number, rule) for number, rule in enumerate(rules, 1))
        return self._read[chain]

    def named_after(self, service: str) -> tuple[str, ...]:
        """Return the chains and sets with a Service's ``namespace/name`` in their names, whatever port or endpoint."""
        return self._by_service.get(service, ())

    def elements_of(self, address: str) -> Sequence[tuple[str, Key, str]]:
        """Return map, key and verdict of all elements for an address."""
        return self._by_address.get(address, ())

    def elements_to(self, chain: str) -> Sequence[tuple[str, Key, str]]:
        """Return map, key and verdict of all elements that lead to a chain."""
        return self._by_target.get(chain, ())

    def goes_to_another(self, address: str, service: str) -> bool:
        """Whether an address leads to the chains of another Service: the API gives free addresses away again."""
        leads = (_OF_SERVICE.match(verdict.rpartition(" ")[2]) for _, _, verdict in self.elements_of(address))
        return any(found and found["service"] != service for found in leads)

    @cached_property
    def _by_service(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, list[str]] = defaultdict(list)
        for name in (*self.written, *self.sets):
            if named := _OF_SERVICE.match(name):
                found[named["service"]].append(name)
        return {service: tuple(names) for service, names in found.items()}

    @cached_property
    def _by_address(self) -> Mapping[str, Sequence[tuple[str, Key, str]]]:
        found: dict[str, list[tuple[str, Key, str]]] = defaultdict(list)
        for element in self._elements():
            found[element[1][0]].append(element)
        return found

    @cached_property
    def _by_target(self) -> Mapping[str, Sequence[tuple[str, Key, str]]]:
        found: dict[str, list[tuple[str, Key, str]]] = defaultdict(list)
        for element in self._elements():
            found[element[2].partition(" ")[2]].append(element)
        return found

    def _elements(self) -> Iterator[tuple[str, Key, str]]:
        return ((name, key, verdict) for name, elements in self.maps.items() for key, verdict in elements.items())


def parse(printed: Mapping[str, Any]) -> Table:
    """Read what ``nft -j list table`` printed; raises NodeError when it is not that."""
    sets: dict[str, NftSet] = {}
    maps: dict[str, Mapping[Key, str]] = {}
    rules: dict[str, list[Mapping[str, Any]]] = {}
    try:
        for kind, item in (pair for one in printed["nftables"] for pair in one.items()):
            match kind:
                case "chain":
                    rules.setdefault(item["name"], [])
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
    return Table(MappingProxyType(sets), MappingProxyType(maps), MappingProxyType(rules))


def _set(item: Mapping[str, Any]) -> NftSet:
    types = words(item["type"])
    elements = (_element(one, types) for one in item.get("elem") or ())
    return NftSet(
        item["name"],
        types,
        item.get("timeout"),
        MappingProxyType({element.key: element for element in elements}),
    )


def _element(written: Any, types: Key) -> Element:
    """Return an element; alone, or with what else is known of it."""
    known = written.get("elem") if isinstance(written, dict) else None
    value = known["val"] if known else written
    parts = value["concat"] if isinstance(value, dict) and "concat" in value else [value]
    named = types if len(types) == len(parts) else ("",) * len(parts)
    key = tuple(
        protocol(word(part)) if of == "inet_proto" else word(part) for part, of in zip(parts, named, strict=True)
    )
    return Element(key, known.get("timeout"), known.get("expires")) if known else Element(key)
