"""Refusals, source ranges, forwarding and leftovers: what kube-proxy writes beside the chains that choose endpoints."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.dataplane import chain_names
from session_affinity.dataplane.backends import IPTABLES, NFTABLES
from session_affinity.dataplane.differences import Aspect
from session_affinity.dataplane.iptables import expected as iptables_expected
from session_affinity.dataplane.iptables import leftovers as iptables_leftovers
from session_affinity.dataplane.iptables import save
from session_affinity.dataplane.judgement import LeftoverQuestion, NodePart, Question, judge
from session_affinity.dataplane.model import (
    CLIENT_IP,
    Endpoint,
    EndpointEntry,
    ServicePort,
    ServiceState,
    Twin,
    shared_addresses,
)
from session_affinity.dataplane.nftables import expected as nftables_expected
from session_affinity.dataplane.nftables import table
from session_affinity.dataplane.nftables.layout import FIREWALL_CHAIN, TableLayout
from session_affinity.dataplane.nftables.layout import port_chains as nft_port_chains
from session_affinity.dataplane.proxy_config import ProxyConfig
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.dataplane.xt_recent import RecentList
from tests import rendered_nodes

if TYPE_CHECKING:
    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.differences import Difference

HERE, ELSEWHERE = "worker", "control-plane"
PROXY = ProxyConfig("any", "10.10.0.0/16", node_addresses={HERE: ("172.30.0.3",), ELSEWHERE: ("fd00::1",)})
ENDPOINT = Endpoint("10.10.1.2", 80, "webpod1", HERE)
OPEN = ServiceState(
    "default",
    "open",
    ("10.200.1.7",),
    CLIENT_IP,
    30,
    (ServicePort("web", "TCP", 9000, (ENDPOINT,), 30123),),
    external_policy="Cluster",
    external_ips=("198.51.100.1",),
    balancer_ips=("198.51.100.2",),
)
LOCAL = replace(OPEN, internal_policy="Local", external_policy="Local", health_check_node_port=31000)
EMPTY = replace(OPEN, ports=(ServicePort("web", "TCP", 9000, (), 30123),))
RANGED = replace(OPEN, source_ranges=("192.0.2.0/24", "172.30.0.0/24"))
OTHER = replace(
    OPEN,
    name="other",
    cluster_ips=("10.200.1.8",),
    ports=(ServicePort("web", "TCP", 9000, (replace(ENDPOINT, address="10.10.1.3"),)),),
)


def filters(service: ServiceState, node: str = ELSEWHERE) -> list[str]:
    return [str(rule.rule) for rule in iptables_expected.expected(service, PROXY, node).filters]


def iptables(
    service: ServiceState,
    *changes: tuple[str, str],
    node: str = HERE,
    compared: ServiceState | None = None,
    without: str = "",
) -> tuple[Difference, ...]:
    text = rendered_nodes.iptables_text([service], PROXY, node)
    lines = [line for line in text.splitlines() if not without or without not in line]
    assert not without or len(lines) < len(text.splitlines())
    text = "\n".join(lines)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return IPTABLES.compare(NodeSnapshot(node, save.parse(text)), compared or service, PROXY)


def places(differences: tuple[Difference, ...]) -> list[tuple[str, Aspect]]:
    return [(difference.chain, difference.aspect) for difference in differences]


# The expected rules of the filter table.


def test_traffic_is_rejected_while_no_node_has_an_endpoint() -> None:
    reject = "-j REJECT --reject-with icmp-port-unreachable"

    assert filters(EMPTY) == [
        f"-A KUBE-SERVICES -d 10.200.1.7/32 -p tcp -m tcp --dport 9000 {reject}",
        f"-A KUBE-EXTERNAL-SERVICES -d 198.51.100.1/32 -p tcp -m tcp --dport 9000 {reject}",
        f"-A KUBE-EXTERNAL-SERVICES -d 198.51.100.2/32 -p tcp -m tcp --dport 9000 {reject}",
        f"-A KUBE-EXTERNAL-SERVICES -p tcp -m addrtype --dst-type LOCAL -m tcp --dport 30123 {reject}",
    ]


def test_traffic_is_dropped_on_a_node_without_a_local_endpoint() -> None:
    check = "-A KUBE-NODEPORTS -p tcp -m tcp --dport 31000 -j ACCEPT"

    assert filters(LOCAL, HERE) == [check]
    assert [line.rpartition(" ")[2] for line in filters(LOCAL, ELSEWHERE)] == ["DROP", "DROP", "DROP", "DROP", "ACCEPT"]


def test_ipv6_has_its_own_refusal() -> None:
    six = replace(EMPTY, family="IPv6", cluster_ips=("fd00::7",), external_ips=(), balancer_ips=())

    assert filters(six)[0] == (
        "-A KUBE-SERVICES -d fd00::7/128 -p tcp -m tcp --dport 9000 -j REJECT --reject-with icmp6-port-unreachable"
    )


def test_a_service_that_is_not_proxied_is_not_refused() -> None:
    assert filters(replace(EMPTY, cluster_ips=())) == []


# Differences in the filter table.


@pytest.mark.parametrize("service", [OPEN, LOCAL, EMPTY, RANGED], ids=["open", "local", "empty", "ranged"])
@pytest.mark.parametrize("node", [HERE, ELSEWHERE])
def test_right_rules_do_not_differ(service: ServiceState, node: str) -> None:
    assert iptables(service, node=node) == ()


@pytest.mark.parametrize(
    ("chain", "place"),
    [
        ("-A KUBE-SERVICES", "KUBE-SERVICES"),
        ("-A KUBE-NODEPORTS -p tcp -m comment", "KUBE-NODEPORTS"),
        ("-A KUBE-PROXY-FIREWALL", "filter KUBE-PROXY-FIREWALL"),
    ],
)
@pytest.mark.parametrize(
    "rule",
    [
        "-j RETURN",
        "",
        "-d 10.200.0.0/16 -p tcp -j ACCEPT",
        "-p tcp -m tcp --dport 9000 -j DNAT --to-destination 192.0.2.1",
        "-d 10.200.1.9/32 -p tcp -m tcp ! --dport 9000 -j KUBE-SVC-AAAAAAAAAAAAAAAA",
        "! -d 10.200.1.9/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-AAAAAAAAAAAAAAAA",
        "-d 10.200.1.9/32 -p tcp -m tcp --dport 80:90 -j KUBE-FW-AAAAAAAAAAAAAAAA",
    ],
)
def test_a_rule_of_no_service_in_a_shared_chain_is_unexpected(rule: str, chain: str, place: str) -> None:
    """A rule of kube-proxy for another Service is not, and neither is one of another program in a built-in chain."""
    name = place.rpartition(" ")[2]
    text = rendered_nodes.iptables_text([RANGED], PROXY, HERE)
    start = text.index(chain)
    foreign = "\n".join((f"-A {name} {rule}".rstrip(), "-A PREROUTING -j CNI-HOSTPORT-DNAT", ""))
    other = f"-A {name} -d 10.200.1.9/32 -p tcp -m tcp --dport 80 -j "
    other += {"KUBE-SERVICES": "KUBE-SVC-", "KUBE-NODEPORTS": "KUBE-EXT-"}.get(name, "DROP") + "\n"
    seen = save.parse(text[:start] + foreign + other + text[start:])

    differences = IPTABLES.compare(NodeSnapshot(HERE, seen), RANGED, PROXY)

    assert places(differences) == [(place, Aspect.UNEXPECTED_RULE)]


@pytest.mark.parametrize("layout", TableLayout)
@pytest.mark.parametrize("expression", ["return", "accept", "drop"])
@pytest.mark.parametrize("chain", ["nat-prerouting", "filter-forward", "nodeport-endpoints-check", "cluster-ips-check"])
def test_a_rule_that_ends_a_chain_of_kube_proxys_table_is_unexpected(
    chain: str, expression: str, layout: TableLayout
) -> None:
    printed = rendered_nodes.nftables_json([OPEN], PROXY, HERE, layout=layout)
    foreign = {"rule": {"chain": chain, "expr": [{expression: None}]}}
    place = next(place for place, item in enumerate(printed["nftables"]) if "rule" in item)
    printed["nftables"].insert(place, foreign)

    differences = NFTABLES.compare(NodeSnapshot(HERE, nftables=table.parse(printed)), OPEN, PROXY)

    assert places(differences) == [(chain, Aspect.UNEXPECTED_RULE)]


def test_a_match_after_what_it_should_restrict_is_a_difference() -> None:
    printed = rendered_nodes.nftables_json([OPEN], PROXY, HERE)
    rules = [item["rule"] for item in printed["nftables"] if "rule" in item]
    marks = next(rule for rule in rules if rule["chain"] == "services" and "mangle" in str(rule))
    jumps = next(rule for rule in rules if "@affinity-" in str(rule) and "goto" in str(rule))
    for rule in (marks, jumps):
        rule["expr"][-2:] = rule["expr"][:-3:-1]

    differences = NFTABLES.compare(NodeSnapshot(HERE, nftables=table.parse(printed)), OPEN, PROXY)

    assert [chain for chain, _ in places(differences)] == [jumps["chain"], "services"]


def test_a_missing_refusal_is_named_with_its_table() -> None:
    assert places(iptables(EMPTY, without="-A KUBE-SERVICES -d 10.200.1.7/32")) == [
        ("filter KUBE-SERVICES", Aspect.REFUSAL)
    ]


def test_a_refusal_of_a_service_that_has_endpoints() -> None:
    differences = iptables(EMPTY, compared=OPEN)

    refusals = [difference for difference in differences if difference.aspect is Aspect.REFUSAL]
    assert [difference.chain for difference in refusals] == [
        "filter KUBE-SERVICES",
        *["filter KUBE-EXTERNAL-SERVICES"] * 3,
    ]
    assert all(difference.expected == "no such rule" for difference in refusals)


def test_a_drop_in_place_of_a_rejection() -> None:
    reject = "-j REJECT --reject-with icmp-port-unreachable"
    line = '-A KUBE-SERVICES -d 10.200.1.7/32 -p tcp -m comment --comment "default/open" -m tcp --dport 9000 '

    differences = iptables(EMPTY, (f"{line}{reject}", f"{line}-j DROP"))

    assert set(places(differences)) == {("filter KUBE-SERVICES", Aspect.REFUSAL)}


def test_health_checks_that_are_not_accepted() -> None:
    assert places(iptables(LOCAL, without="--dport 31000")) == [("filter KUBE-NODEPORTS", Aspect.HEALTH_CHECK)]


def test_without_the_end_of_the_firewall_chain_every_source_is_let_in() -> None:
    assert places(iptables(RANGED, without="-A KUBE-PROXY-FIREWALL")) == [
        ("filter KUBE-PROXY-FIREWALL", Aspect.FIREWALL)
    ]


def test_the_filter_table_is_compared_only_where_it_was_read() -> None:
    text = rendered_nodes.iptables_text([EMPTY], PROXY, HERE, tables=("nat",))

    assert IPTABLES.compare(NodeSnapshot(HERE, save.parse(text)), EMPTY, PROXY) == ()


# The rules that every Service needs.


@pytest.mark.parametrize(
    ("without", "place"),
    [
        ("-A KUBE-MARK-MASQ", ("KUBE-MARK-MASQ", Aspect.MASQUERADE)),
        ("--mark 0x4000/0x4000 -j RETURN", ("KUBE-POSTROUTING", Aspect.MASQUERADE)),
        ("-j MASQUERADE", ("KUBE-POSTROUTING", Aspect.MASQUERADE)),
        ("-A POSTROUTING", ("POSTROUTING", Aspect.MASQUERADE)),
        ("-A PREROUTING", ("PREROUTING", Aspect.ENTRY)),
        ("--mark 0x4000/0x4000 -j ACCEPT", ("filter KUBE-FORWARD", Aspect.FORWARDING)),
        ("-A FORWARD -j KUBE-FORWARD", ("filter FORWARD", Aspect.FORWARDING)),
        ("-A OUTPUT -m conntrack --ctstate NEW -j KUBE-SERVICES", ("filter OUTPUT", Aspect.REFUSAL)),
        ("-A INPUT -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL", ("filter INPUT", Aspect.FIREWALL)),
        ("-A INPUT -j KUBE-NODEPORTS", ("filter INPUT", Aspect.HEALTH_CHECK)),
    ],
)
def test_a_shared_rule_that_is_missing(without: str, place: tuple[str, Aspect]) -> None:
    assert places(iptables(OPEN, without=without)) == [place]


def test_invalid_packets_may_be_dropped_and_counted_or_not() -> None:
    counted = "--ctstate INVALID -m nfacct --nfacct-name  ct_state_invalid_dropped_pkts -j DROP"

    assert iptables(OPEN, without="INVALID") == ()
    assert iptables(OPEN, ("--ctstate INVALID -j DROP", counted)) == ()


def test_another_rule_in_a_chain_of_kube_proxy() -> None:
    (difference,) = iptables(
        OPEN, ("-A KUBE-MARK-MASQ -j MARK", "-A KUBE-MARK-MASQ -j RETURN\n-A KUBE-MARK-MASQ -j MARK")
    )

    assert (difference.chain, difference.rule, difference.aspect) == ("KUBE-MARK-MASQ", 1, Aspect.UNEXPECTED_RULE)


def test_masquerading_before_the_return_of_unmarked_packets() -> None:
    text = rendered_nodes.iptables_text([OPEN], PROXY, HERE)
    returns = "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n"
    masquerade = "-A KUBE-POSTROUTING -j MASQUERADE --random-fully\n"
    moved = text.replace(returns, "").replace(masquerade, masquerade + returns)

    (difference,) = IPTABLES.compare(NodeSnapshot(HERE, save.parse(moved)), OPEN, PROXY)

    assert (difference.chain, difference.aspect) == ("KUBE-POSTROUTING", Aspect.MASQUERADE)


def test_another_masquerade_bit() -> None:
    other = replace(PROXY, masquerade_bit=15)
    state = rendered_nodes.iptables_node([OPEN], other, HERE)

    assert IPTABLES.compare(state, OPEN, other) == ()
    assert {difference.chain for difference in IPTABLES.compare(state, OPEN, PROXY)} == {
        "KUBE-MARK-MASQ",
        "KUBE-POSTROUTING",
        "filter KUBE-FORWARD",
    }


# Source ranges.


def test_a_range_with_the_nodes_address_lets_in_the_nodes_own_connections() -> None:
    (chain,) = iptables_expected.port_chains(RANGED, chain_names.FIREWALL_CHAIN)

    def sources(node: str) -> list[tuple[str | None, bool]]:
        rules = iptables_expected.expected(RANGED, PROXY, node).chains[chain]
        return [(rule.rule.value("-s"), rule.optional) for rule in rules]

    ranges = [("192.0.2.0/24", False), ("172.30.0.0/24", False)]
    assert sources(HERE) == [*ranges, ("198.51.100.2/32", False), (None, False)]
    assert sources(ELSEWHERE) == [*ranges, (None, False)]
    assert sources("unknown") == [*ranges, ("198.51.100.2/32", True), (None, False)]


@pytest.mark.parametrize("source", ["192.0.2.0/24", "198.51.100.2/32"])
def test_a_source_that_is_not_let_in(source: str) -> None:
    (difference,) = iptables(RANGED, without=f"-s {source}")

    assert difference.aspect is Aspect.FIREWALL
    assert difference.chain.startswith("KUBE-FW-")


def test_a_source_too_many() -> None:
    (chain,) = iptables_expected.port_chains(RANGED, chain_names.FIREWALL_CHAIN)
    (external,) = iptables_expected.port_chains(RANGED, chain_names.EXTERNAL_CHAIN)
    last = f'-A {chain} -m comment --comment "default/open"'

    (difference,) = iptables(RANGED, (f"{last}\n", f"-A {chain} -s 10.0.0.0/8 -j {external}\n{last}\n"))

    assert (difference.chain, difference.rule, difference.aspect) == (chain, 4, Aspect.FIREWALL)


def nftables(service: ServiceState, sources: list[Any], *, node: str = HERE) -> tuple[Difference, ...]:
    """Return the differences of a node whose firewall chain lets in these sources."""
    printed = rendered_nodes.nftables_json([service], PROXY, node)
    rules = [item["rule"] for item in printed["nftables"] if "rule" in item]
    (rule,) = [rule for rule in rules if rule["chain"] in nft_port_chains(service, FIREWALL_CHAIN)]
    rule["expr"][0]["match"]["right"] = {"set": sources} if len(sources) > 1 else sources[0]
    return NFTABLES.compare(NodeSnapshot(node, nftables=table.parse(printed)), service, PROXY)


def prefix(address: str, length: int) -> dict[str, Any]:
    return {"prefix": {"addr": address, "len": length}}


IN_ORDER = [prefix("192.0.2.0", 24), prefix("172.30.0.0", 24), "198.51.100.2"]


@pytest.mark.parametrize(
    "sources",
    [
        IN_ORDER,
        IN_ORDER[::-1],
        [{"range": ["172.30.0.0", "172.30.0.127"]}, prefix("172.30.0.128", 25), *IN_ORDER[::2]],
    ],
)
def test_sources_may_be_merged_and_sorted(sources: list[Any]) -> None:
    assert nftables(RANGED, sources) == ()


@pytest.mark.parametrize("sources", [IN_ORDER[:2], IN_ORDER[1:], [*IN_ORDER, "10.9.9.9"], [prefix("192.0.2.0", 25)]])
def test_other_sources_in_nftables_mode(sources: list[Any]) -> None:
    (difference,) = nftables(RANGED, sources)

    assert (difference.rule, difference.aspect) == (1, Aspect.FIREWALL)
    assert difference.chain.startswith(FIREWALL_CHAIN)


@pytest.mark.parametrize("sources", [IN_ORDER, IN_ORDER[:2]])
def test_of_an_unknown_node_the_load_balancers_address_may_be_let_in_or_not(sources: list[Any]) -> None:
    assert nftables(RANGED, sources, node="unknown") == ()


def test_source_ranges_that_overlap_are_one() -> None:
    overlapping = replace(RANGED, source_ranges=("10.0.0.0/8", "10.1.0.0/16", "192.0.2.1/32"))

    assert nftables(overlapping, [prefix("10.0.0.0", 8), "192.0.2.1"]) == ()


# The rules and hooks that every Service needs, in nftables mode.


@pytest.mark.parametrize("layout", TableLayout)
def test_every_shared_rule_and_jump_counts_in_nftables_mode(layout: TableLayout) -> None:
    shared = nftables_expected.shared_rules("IPv4", PROXY, layout)
    printed = rendered_nodes.nftables_json([OPEN], PROXY, HERE, layout=layout)
    places = [
        place
        for place, item in enumerate(printed["nftables"])
        if "rule" in item and "/" not in item["rule"]["chain"] and "node" not in str(item)
    ]
    assert len(places) >= sum(map(len, shared.chains.values())) + len(shared.jumps) - 1

    for place in places:
        items = [item for number, item in enumerate(printed["nftables"]) if number != place]
        state = NodeSnapshot(HERE, nftables=table.parse({"nftables": items}))
        assert NFTABLES.compare(state, OPEN, PROXY), printed["nftables"][place]


def test_a_chain_that_the_kernel_does_not_enter() -> None:
    printed = rendered_nodes.nftables_json([OPEN], PROXY, HERE)
    chains = [item["chain"] for item in printed["nftables"] if "chain" in item]
    (base,) = [chain for chain in chains if chain["name"] == "nat-prerouting"]
    base["hook"] = "input"

    (difference,) = NFTABLES.compare(NodeSnapshot(HERE, nftables=table.parse(printed)), OPEN, PROXY)

    assert (difference.aspect, difference.expected) == (Aspect.ENTRY, "jump services")


# Two Services with one external address and port: which of them has it, kube-proxy draws at every sync.


@pytest.mark.parametrize("order", [(OPEN, OTHER), (OTHER, OPEN)], ids=["open-first", "other-first"])
@pytest.mark.parametrize("backend", [IPTABLES, NFTABLES], ids=lambda backend: backend.mode)
def test_of_two_services_with_one_address_either_may_have_it(
    backend: Backend, order: tuple[ServiceState, ServiceState]
) -> None:
    render = rendered_nodes.iptables_node if backend is IPTABLES else rendered_nodes.nftables_node
    state = render(order, PROXY, HERE)

    assert shared_addresses([OPEN, OTHER]) == {
        (address, "TCP", 9000): ("default/open", "default/other") for address in ("198.51.100.1", "198.51.100.2")
    }
    assert backend.compare_many(state, [OPEN, OTHER], PROXY) == {OPEN: (), OTHER: ()}
    assert backend.leftovers(state, [OPEN, OTHER], PROXY).differences == ()


@pytest.mark.parametrize("backend", [IPTABLES, NFTABLES], ids=lambda backend: backend.mode)
def test_an_address_that_leads_to_neither_of_its_services_is_a_difference(backend: Backend) -> None:
    render = rendered_nodes.iptables_node if backend is IPTABLES else rendered_nodes.nftables_node
    state = render([replace(OPEN, external_ips=()), replace(OTHER, external_ips=())], PROXY, HERE)

    differences = backend.compare_many(state, [OPEN, OTHER], PROXY)

    assert all(differences.values())


# Slices that disagree about an endpoint.


def twin_state(service: ServiceState) -> ServiceState:
    entries = tuple(
        EndpointEntry(number, ENDPOINT, is_ready=number == 0, is_draining=False, is_terminating=False)
        for number in (0, 1)
    )
    return replace(service, ports=(replace(service.ports[0], twins=(Twin(entries),)),))


@pytest.mark.parametrize("backend", [IPTABLES, NFTABLES], ids=lambda backend: backend.mode)
def test_either_state_of_an_undefined_endpoint_is_right_and_others_are_not(backend: Backend) -> None:
    render = rendered_nodes.iptables_node if backend is IPTABLES else rendered_nodes.nftables_node
    service = twin_state(OPEN)

    for state in service.alternatives(HERE):
        assert backend.compare(render([state], PROXY, HERE), service, PROXY) == ()
    wrong = backend.compare(render([replace(OPEN, timeout_seconds=31)], PROXY, HERE), service, PROXY)
    assert wrong
    assert all("slices disagree about 10.10.1.2:80" in difference.reason for difference in wrong)


# Leftovers.


@pytest.mark.parametrize("backend", [IPTABLES, NFTABLES], ids=lambda backend: backend.mode)
def test_leftovers_are_found_without_the_name_of_their_service(backend: Backend) -> None:
    render = rendered_nodes.iptables_node if backend is IPTABLES else rendered_nodes.nftables_node
    state = render([RANGED, OTHER], PROXY, HERE)

    left = backend.leftovers(state, [OTHER], PROXY)

    assert left.deferred == ()
    assert {difference.aspect for difference in left.differences} == {Aspect.LEFTOVER}
    expected = set(backend.expected(RANGED, PROXY, HERE).names)
    assert expected <= {difference.chain for difference in left.differences}


def many(number: int) -> ServiceState:
    endpoints = tuple(Endpoint(f"10.10.{1 + place // 250}.{1 + place % 250}", 80) for place in range(number))
    return replace(OTHER, external_ips=(), balancer_ips=(), ports=(ServicePort("web", "TCP", 9000, endpoints),))


@pytest.mark.parametrize(("number", "is_deferred"), [(1000, False), (1001, True)])
def test_above_1000_endpoints_chains_that_no_rule_leads_to_are_deferred(number: int, *, is_deferred: bool) -> None:
    service = many(number)
    former = ":KUBE-SEP-AAAAAAAAAAAAAAAA - [0:0]\n-A KUBE-SEP-AAAAAAAAAAAAAAAA -s 10.10.9.9/32 -j KUBE-MARK-MASQ\n"
    text = rendered_nodes.iptables_text([service], PROXY, HERE).replace("-A PREROUTING", f"{former}-A PREROUTING", 1)

    left = IPTABLES.leftovers(NodeSnapshot(HERE, save.parse(text)), [service], PROXY)

    assert (len(left.differences), len(left.deferred)) == ((0, 1) if is_deferred else (1, 0))
    assert all(str(iptables_leftovers.LARGE_CLUSTER_ENDPOINTS) in difference.reason for difference in left.deferred)


@pytest.mark.parametrize("is_large", [False, True])
def test_chains_of_a_deleted_service_are_deferred_where_others_have_no_comments(*, is_large: bool) -> None:
    """On a cluster of others the Services that are asked about are few, and kube-proxy has more than 1000 endpoints."""
    deleted = many(2)
    others = replace(many(3), name="another", cluster_ips=("10.200.1.9",))
    text = rendered_nodes.iptables_text([deleted, others], PROXY, HERE, is_large=is_large)
    entry = f"-A KUBE-SERVICES -d {deleted.cluster_ips[0]}/32"
    lines = [line for line in text.splitlines() if not line.startswith(entry)]
    question = Question("iptables", "IPv4", (others,), leftovers=LeftoverQuestion((others,), (deleted,)))

    found = judge(NodeSnapshot(HERE, save.parse("\n".join(lines))), question, NodePart(PROXY))

    assert bool(found.leftovers) is not is_large


@pytest.mark.parametrize("is_large", [False, True])
def test_a_former_endpoints_chain_is_right_in_a_service_written_without_comments(*, is_large: bool) -> None:
    service, before = many(2), many(3)
    (gone,) = set(iptables_expected.endpoint_chains(before)) - set(iptables_expected.endpoint_chains(service))
    text = rendered_nodes.iptables_text([service], PROXY, HERE, is_large=is_large)
    old = [line for line in rendered_nodes.iptables_text([before], PROXY, HERE).splitlines() if f"-A {gone}" in line]
    text = text.replace("-A PREROUTING", "\n".join([*old, "-A PREROUTING"]), 1)

    differences = IPTABLES.compare(NodeSnapshot(HERE, save.parse(text)), service, PROXY)

    assert places(differences) == ([] if is_large else [(gone, Aspect.LEFTOVER)])


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("is_gone", [False, True])
def test_unused_chains_of_a_service_itself_are_right_where_rules_have_no_comments(
    *, is_large: bool, is_gone: bool
) -> None:
    """Its policy was Local, or it had endpoints; kube-proxy writes the chains that are in use and no others."""
    endpoints = (ENDPOINT, Endpoint("10.10.2.2", 80))
    local = replace(many(0), external_policy="Local", ports=(ServicePort("web", "TCP", 9000, endpoints, 30900),))
    service = replace(local, external_policy="Cluster")
    if is_gone:
        service = replace(service, ports=(service.ports[0].without_endpoints(),))
    other = replace(many(2), name="another", cluster_ips=("10.200.1.9",))
    before, after = (
        rendered_nodes.iptables_text([each, other], PROXY, HERE, is_large=is_large).splitlines()
        for each in (local, service)
    )
    unused = set(iptables_expected.expected(local, PROXY, HERE).names) - set(
        iptables_expected.expected(service, PROXY, HERE).names
    )
    kept = [line for line in before if any(f"-A {chain} " in line for chain in unused)]
    text = "\n".join(after).replace("-A PREROUTING", "\n".join([*kept, "-A PREROUTING"]), 1)

    differences = IPTABLES.compare(NodeSnapshot(HERE, save.parse(text)), service, PROXY)

    assert kept
    assert {difference.chain for difference in differences} == (set() if is_large else unused)


@pytest.mark.parametrize(("is_large", "has_entry"), [(False, False), (True, False), (True, True)])
def test_a_deleted_service_may_have_chains_where_rules_have_no_comments_and_none_leads_there(
    *, is_large: bool, has_entry: bool
) -> None:
    deleted, other = many(2), replace(many(3), name="another", cluster_ips=("10.200.1.9",))
    text = rendered_nodes.iptables_text([deleted, other], PROXY, HERE, is_large=is_large)
    entry = f"-A KUBE-SERVICES -d {deleted.cluster_ips[0]}/32"
    lines = [line for line in text.splitlines() if has_entry or not line.startswith(entry)]

    objects = IPTABLES.objects_of(NodeSnapshot(HERE, save.parse("\n".join(lines))), deleted)

    assert bool(objects) is (has_entry or not is_large)


@pytest.mark.parametrize(
    ("is_large", "removed", "unused"),
    [
        (False, " -j {sep}", ()),
        (True, " -j {sep}", (0,)),
        (True, " -j {svc}", (0, 1)),
        (True, "nothing", ()),
    ],
)
def test_lists_of_chains_that_no_packet_gets_to_are_unused_stores_where_rules_have_no_comments(
    removed: str, unused: tuple[int, ...], *, is_large: bool
) -> None:
    service, other = many(2), replace(many(3), name="another", cluster_ips=("10.200.1.9",))
    text = rendered_nodes.iptables_text([service, other], PROXY, HERE, is_large=is_large)
    stores = tuple(IPTABLES.affinity_stores(service))
    ending = removed.format(sep=stores[0], svc=iptables_expected.port_chains(service)[0])
    kept = [line for line in text.splitlines() if not line.endswith(ending)]
    lists = {name: RecentList(name, ()) for name in stores}

    found = IPTABLES.unused_stores(NodeSnapshot(HERE, save.parse("\n".join(kept)), lists=lists), service)

    assert len(kept) < len(text.splitlines()) or removed == "nothing"
    assert found == tuple(stores[place] for place in unused)


def test_a_former_endpoints_chain_that_a_rule_leads_to_is_a_difference_in_any_cluster() -> None:
    text = rendered_nodes.iptables_text([many(3)], PROXY, HERE, is_large=True)

    assert IPTABLES.compare(NodeSnapshot(HERE, save.parse(text)), many(2), PROXY)
