"""Which clients must still be bound after what changed, and which slices kube-proxy still has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from session_affinity.cluster_objects import handmade
from session_affinity.dataplane.backend import AffinityEntry
from session_affinity.dataplane.backends import IPTABLES, NFTABLES
from session_affinity.dataplane.model import CLIENT_IP, Endpoint, ServicePort, ServiceState
from session_affinity.dataplane.proxy_config import ProxyConfig
from session_affinity.scenarios.walks.bindings import Binding, Bindings, stores_on, with_stores
from session_affinity.scenarios.walks.service_edits import service
from session_affinity.scenarios.walks.slice_cache import SliceCaches
from session_affinity.scenarios.walks.slice_edits import endpoint_slice

X = Binding("node", "a", "203.0.113.201", "store-x", "192.0.2.71:8000")
ENDPOINT = Endpoint("192.0.2.71", 8000)


def entry(store: str, client: str = X.client) -> AffinityEntry:
    return AffinityEntry(store, ENDPOINT, client)


def bound() -> Bindings:
    bindings = Bindings()
    bindings.bind(X, ["store-x", "store-y"])
    return bindings


def test_a_client_stays_bound_while_its_store_is_called_for() -> None:
    bindings = bound()
    bindings.keep("node", "a", {"store-x", "store-y"})

    assert not list(bindings.wrong("node", "a", [entry("store-x")]))
    (wrong,) = bindings.wrong("node", "a", [])
    assert (wrong.expected, wrong.seen) == (str(X), "no entry")


def test_a_client_that_moved_is_wrong_twice() -> None:
    lost, made = bound().wrong("node", "a", [entry("store-y")])

    assert lost.seen == "an entry in store-y instead"
    assert made.expected == "no entry of 203.0.113.201 in store-y"


def test_after_a_state_without_its_store_a_client_may_be_bound_or_not() -> None:
    bindings = bound()
    bindings.keep("node", "a", ())
    bindings.settle("node", "a", {"store-x"})

    assert not list(bindings.wrong("node", "a", []))
    assert not list(bindings.wrong("node", "a", [entry("store-x")]))


def test_entries_are_gone_once_a_node_has_no_such_store() -> None:
    bindings = bound()
    bindings.keep("node", "a", ())
    bindings.settle("node", "a", ())

    (wrong,) = bindings.wrong("node", "a", [entry("store-x")])
    assert wrong.seen == "an entry of 203.0.113.201"


def test_other_nodes_and_services_are_not_concerned() -> None:
    bindings = bound()
    bindings.keep("other", "a", ())
    bindings.keep("node", "b", ())

    assert bindings.certain("node") == (X,)
    assert not list(bindings.wrong("other", "a", []))


def test_a_client_may_have_an_entry_in_a_store_that_was_not_called_for_when_it_was_bound_anew() -> None:
    bindings = bound()
    bindings.keep("node", "a", ())
    bindings.settle("node", "a", {"store-x"})
    bindings.bind(Binding("node", "a", X.client, "store-y", ""), ["store-y"])

    assert not list(bindings.wrong("node", "a", [entry("store-x"), entry("store-y")]))
    assert not list(bindings.wrong("node", "a", [entry("store-y")]))


def test_a_client_that_is_bound_anew_is_bound_there_alone() -> None:
    bindings = bound()
    bindings.bind(Binding("node", "a", X.client, "store-y", ""), ["store-x", "store-y"])

    assert not list(bindings.wrong("node", "a", [entry("store-y")]))


def test_stores_are_those_of_endpoints_that_a_node_uses() -> None:
    stored: dict[str, Any] = service("a", ["web"], sessionAffinity="ClientIP", clusterIP="10.200.0.1")
    stored["metadata"]["namespace"] = "work"
    endpoints = [{"addresses": ["192.0.2.71"], "nodeName": "one"}, {"addresses": ["192.0.2.72"], "nodeName": "two"}]
    local = {**stored, "spec": {**stored["spec"], "internalTrafficPolicy": "Local"}}
    for backend in (IPTABLES, NFTABLES):
        proxy = ProxyConfig(backend.mode, None)
        both, one = (handmade.states([each], [endpoint_slice("a-1", "a", endpoints)])[0] for each in (stored, local))

        assert len(stores_on("one", [both], backend, proxy)[0]) == 2
        certain, possible = stores_on("one", [both, one], backend, proxy)
        assert len(certain) == 1
        assert len(possible) == 2


def test_a_client_is_written_to_the_stores_of_the_ports_that_use_an_endpoint_alone() -> None:
    shared, other = Endpoint("192.0.2.72", 8000), Endpoint("192.0.2.73", 8000)
    draining = Endpoint("192.0.2.74", 8000)
    web = ServicePort("web", "TCP", 80, (shared, other), serving_terminating=(draining,))
    dns = ServicePort("dns-tcp", "TCP", 53, (shared, other), serving_terminating=(draining,))
    state = ServiceState("work", "a", ("10.200.0.1",), CLIENT_IP, 10800, (web, dns))
    for backend in (IPTABLES, NFTABLES):
        names = backend.affinity_stores(replace(state, ports=(replace(dns, endpoints=(shared,)),)))
        unused = next(name for name, endpoint in names.items() if endpoint == shared)
        used = backend.affinity_stores(state).keys() - {unused}

        assert backend.affinity_stores(with_stores(backend, state, used)).keys() == used


def labelled(of: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": "s", "labels": {"kubernetes.io/service-name": of, **labels}}}


def test_a_relabelled_slice_stays_with_its_old_service_until_a_restart() -> None:
    caches = SliceCaches(["one", "two"])
    caches.store(labelled("old"))
    caches.store(labelled("new"))

    assert caches.stale("one") == (labelled("old"),)
    caches.restart("one")
    assert caches.stale("one") == ()
    assert caches.stale("two") == (labelled("old"),)
    caches.delete("s")
    assert caches.stale("one") == ()
    assert caches.stale("two") == (labelled("old"),)


def test_a_slice_that_comes_back_is_where_it_was() -> None:
    caches = SliceCaches(["one"])
    for of in ("old", "new", "old"):
        caches.store(labelled(of))

    assert caches.stale("one") == (labelled("new"),)


def test_a_slice_labelled_headless_is_gone() -> None:
    caches = SliceCaches(["one"])
    caches.store(labelled("old"))
    caches.store(labelled("old", **{"service.kubernetes.io/headless": ""}))

    assert caches.stale("one") == ()
    caches.store(labelled("new"))
    assert caches.stale("one") == ()
