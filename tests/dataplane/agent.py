"""The agent of one node: keeps the node's table as the API has Services, EndpointSlices and Nodes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from session_affinity.dataplane.model import SERVICE_NAME_LABEL, ServiceState
from session_affinity.dataplane.proxy_config import ZONE_LABEL
from tests.dataplane import pod_network
from tests.dataplane.rules import NFT_FAMILY, TABLE, Node, Program, base, program, transaction

if TYPE_CHECKING:
    from collections.abc import Iterable

    from session_affinity.dataplane.model import Family
    from tests.dataplane.watch import Change

SERVICES: Final = "/api/v1/services"
SLICES: Final = "/apis/discovery.k8s.io/v1/endpointslices"
NODES: Final = "/api/v1/nodes"
PATHS: Final = (SERVICES, SLICES, NODES)
_TOGETHER_SECONDS: Final = 0.02
"""How long changes that follow each other are collected for one transaction."""


class Agent:
    """The agent of a node; ``pod_ranges`` are the ranges of all pods by the IP families of the cluster."""

    def __init__(self, name: str, pod_ranges: dict[Family, str], *, routes: bool) -> None:
        self._node = Node(name, "", pod_ranges)
        self._routes = routes
        self._routed: frozenset[tuple[str, str]] = frozenset()
        self._objects: dict[str, dict[str, dict[str, Any]]] = {}
        self._slices: dict[str, dict[str, dict[str, Any]]] = {}
        self._programs: dict[tuple[str, Family], Program] = {}
        self._changed: set[str] = set()
        self._is_first = True

    def run(self, changes: SimpleQueue[Change]) -> None:
        """Follow the changes for as long as this process runs."""
        while True:
            self._apply(changes.get())
            time.sleep(_TOGETHER_SECONDS)
            while True:
                try:
                    self._apply(changes.get_nowait())
                except Empty:
                    break
            if self._objects.keys() >= set(PATHS):
                self._sync()

    def _apply(self, change: Change) -> None:
        """Take over a change, and note the Services that it is about."""
        known = self._objects.setdefault(change.path, {})
        if change.is_list:
            gone = known.keys() - set(map(_key, change.objects))
            for key in gone:
                self._note(change.path, known.pop(key), is_gone=True)
        for each in change.objects:
            if change.is_gone:
                known.pop(_key(each), None)
            else:
                known[_key(each)] = each
            self._note(change.path, each, is_gone=change.is_gone)

    def _note(self, path: str, changed: dict[str, Any], *, is_gone: bool) -> None:
        if path == SERVICES:
            self._changed.add(_key(changed))
        elif path == SLICES:
            service = f"{changed['metadata']['namespace']}/{_labels(changed).get(SERVICE_NAME_LABEL, '')}"
            slices = self._slices.setdefault(service, {})
            if is_gone:
                slices.pop(_key(changed), None)
            else:
                slices[_key(changed)] = changed
            self._changed.add(service)
        elif _key(changed) == self._node.name:
            zone = _labels(changed).get(ZONE_LABEL, "")
            if zone != self._node.zone:
                self._node = Node(self._node.name, zone, self._node.pod_ranges)
                self._changed |= self._objects.get(SERVICES, {}).keys()

    def _sync(self) -> None:
        """Program the changed Services in one transaction of each family, and the routes to changed nodes."""
        if (
            self._routes
            and (routes := pod_network.routes(self._objects[NODES].values(), self._node.name)) != self._routed
        ):
            pod_network.add(routes - self._routed)
            self._routed = routes
        if not self._changed and not self._is_first:
            return
        began, changed = time.monotonic(), sorted(self._changed)
        self._changed.clear()
        for family in self._node.pod_ranges:
            new = {(key, family): self._program(key, family) for key in changed}
            old = {at: self._programs.get(at, Program()) for at in new}
            commands = transaction(family, old.values(), new.values())
            if self._is_first:
                commands = base(family) + transaction(family, [_left_by_earlier_run(family)], new.values())
            if commands:
                subprocess.run(("nft", "-f", "-"), input=commands, text=True, check=True)
            self._programs |= new
        self._is_first = False
        sys.stderr.write(f"{len(changed)} Services changed, programmed in {time.monotonic() - began:.3f} s\n")

    def _program(self, key: str, family: Family) -> Program:
        service = self._objects[SERVICES].get(key)
        if service is None:
            return Program()
        slices = list(self._slices.get(key, {}).values())
        return program(ServiceState.from_objects(service, slices, family=family), self._node)


def _left_by_earlier_run(family: Family) -> Program:
    """Return the objects of Services that an earlier run of this agent has left; rules are unknown, sets are kept."""
    listed = subprocess.run(
        ("nft", "-j", "list", "table", NFT_FAMILY[family], TABLE), capture_output=True, text=True, check=False
    )
    if listed.returncode:
        return Program()
    objects = json.loads(listed.stdout)["nftables"]
    names = {kind: [o[kind] for o in objects if kind in o] for kind in ("set", "chain", "map")}
    own = set(_names(base(family)))
    return Program(
        {each["name"]: int(each.get("timeout", 0)) for each in names["set"] if each["name"] not in own},
        {each["name"]: () for each in names["chain"] if each["name"] not in own},
        frozenset(),
    )


def _names(commands: str) -> Iterable[str]:
    """Yield the names of what commands add."""
    return (line.split()[4] for line in commands.splitlines() if line.startswith(("add chain", "add set", "add map")))


def _key(each: dict[str, Any]) -> str:
    meta = each["metadata"]
    return "/".join(filter(None, (meta.get("namespace"), meta["name"])))


def _labels(each: dict[str, Any]) -> dict[str, str]:
    return each["metadata"].get("labels") or {}
