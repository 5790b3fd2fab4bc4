"""Services whose affinity is switched in place and back, and Services that have no rules: what nodes make of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from session_affinity.cluster_objects.services import NO_AFFINITY, ServiceRequest
from session_affinity.dataplane.model import CLIENT_IP
from session_affinity.experiment import SPREAD_REQUESTS, STICKY_REQUESTS
from session_affinity.testbed.testbed import POLL_SECONDS
from session_affinity.traffic.answers import target
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.kube.api import Object
    from session_affinity.testbed.testbed import SyncResult, Testbed
    from session_affinity.traffic.answers import Answers

HEADLESS: Final = {"clusterIP": "None"}
EXTERNAL_NAME: Final = {"type": "ExternalName", "externalName": "example.org", "selector": None}


@dataclass(frozen=True)
class OnAndOff:
    """A Service without affinity that was switched to ClientIP, then to None again.

    ``on`` and ``off`` are the waits for the nodes after the two switches. ``kept`` are the client's answers from
    ``sticky``, the Service under ClientIP, ``spread`` those from ``plain``, the Service in the end.
    """

    sticky: ServiceState
    plain: ServiceState
    on: SyncResult
    off: SyncResult
    kept: Answers
    spread: Answers


@dataclass(frozen=True)
class OffAndOn:
    """A Service created with ClientIP that was switched to None, then to ClientIP again.

    ``created``, ``off`` and ``on`` are the waits for the nodes, with the affinity entries of the last two: ``off`` goes
    on until no node has any, at most for the time of a sync. ``specs`` are its specifications after the first and the
    last. ``bound`` is the client's node when the client had an entry.
    """

    service: ServiceState
    specs: tuple[Object, Object]
    created: SyncResult
    bound: NodeSnapshot
    off: SyncResult
    on: SyncResult


@dataclass(frozen=True)
class ServicesWithoutRules:
    """A headless and an ExternalName Service with ClientIP, and ``control``, an ordinary one created after them.

    ``sync`` is the wait for the nodes to have the rules of ``control``; its states have the affinity entries too.
    """

    without: tuple[ServiceState, ...]
    control: ServiceState
    sync: SyncResult


def switch_on_and_off(testbed: Testbed, manifest: Mapping[str, Any]) -> OnAndOff:
    """Create the Service of a manifest without affinity, and switch it; it is deleted at the end.

    Raises ApiError, NodeError, and NotReadyError where the client's node is late.
    """
    client, services = testbed.client, testbed.services
    since = time.monotonic()
    service = services.recreate(manifest)
    try:
        testbed.wait_for_client_sync(service, since=since)
        since = time.monotonic()
        sticky = services.switch(service, CLIENT_IP)
        on = testbed.wait_for_sync(sticky, since=since).require(client.node)
        kept = client.request(target(sticky), count=STICKY_REQUESTS)
        since = time.monotonic()
        plain = services.switch(sticky, NO_AFFINITY)
        off = testbed.wait_for_sync(plain, since=since).require(client.node)
        return OnAndOff(sticky, plain, on, off, kept, client.request(target(plain), count=SPREAD_REQUESTS))
    finally:
        services.delete(service)


def switch_off_and_on(testbed: Testbed) -> OffAndOn:
    """Create a Service with ClientIP, bind the client, and switch the Service; it is deleted at the end.

    Raises ApiError and NodeError.
    """
    client, nodes, services = testbed.client, testbed.nodes, testbed.services
    since = time.monotonic()
    service = services.create(ServiceRequest("switched", CLIENT_IP))
    try:
        created = testbed.wait_for_sync(service, since=since)
        first, _ = services.stored(service)
        client.request(target(service))
        bound = nodes.read_one(client.node)
        since = time.monotonic()
        plain = services.switch(service, NO_AFFINITY)
        off = _cleared(testbed, service, testbed.wait_for_sync(plain, since=since, with_entries=True))
        since = time.monotonic()
        again = services.switch(plain, CLIENT_IP)
        on = testbed.wait_for_sync(again, since=since, with_entries=True)
        last, _ = services.stored(again)
        return OffAndOn(again, (first["spec"], last["spec"]), created, bound, off, on)
    finally:
        services.delete(service)


def _cleared(testbed: Testbed, service: ServiceState, sync: SyncResult) -> SyncResult:
    """Read nodes that still have lists or sets of a Service again, at most for the time of a sync; raises NodeError.

    The kernel frees the rules of a table, and with them their lists, a moment after others took their place
    (``__do_replace`` in net/ipv4/netfilter/ip_tables.c), and nothing reads both at once.
    """
    states = dict(sync.states)

    def are_gone() -> bool:
        left = [name for name, state in states.items() if testbed.backend.existing_stores(state, service)]
        states.update({name: testbed.nodes.read_one(name) for name in left})
        return not left

    poll(are_gone, testbed.sync_seconds, pause=POLL_SECONDS)
    return replace(sync, states=states)


def create_without_rules(testbed: Testbed) -> ServicesWithoutRules:
    """Create Services that kube-proxy leaves out, and an ordinary one after them; all are deleted at the end.

    Raises ApiError and NodeError.
    """
    services = testbed.services
    bare = ServiceRequest("bare", CLIENT_IP, spec=HEADLESS)
    created = services.create_all([bare, ServiceRequest("named", CLIENT_IP, spec=EXTERNAL_NAME, endpoints=0)])
    try:
        since = time.monotonic()
        control = services.create(ServiceRequest("control", CLIENT_IP))
        created.append(control)
        sync = testbed.wait_for_sync(control, since=since, with_entries=True)
        return ServicesWithoutRules(tuple(created[:-1]), control, sync)
    finally:
        for service in created:
            services.delete(service)
