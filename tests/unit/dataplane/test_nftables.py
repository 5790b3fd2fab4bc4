"""nftables mode tested with dumps of real kube-proxies, trimmed to three Services.

``sticky`` has ClientIP and ``plain`` has None, both over three endpoints; ``nobody`` has ClientIP and no endpoint.
``sticky`` has an affinity entry of one client. The dumps are of nft 1.0.6 on a node without local endpoints.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane.backends import NFTABLES
from session_affinity.dataplane.differences import Aspect
from session_affinity.dataplane.model import CLIENT_IP, Endpoint, ServicePort, ServiceState
from session_affinity.dataplane.nftables import compare as nftables_compare
from session_affinity.dataplane.nftables import expected as nftables_expected
from session_affinity.dataplane.nftables import layout as nftables_layout
from session_affinity.dataplane.nftables import table as nftables_table
from session_affinity.dataplane.nftables.layout import TableLayout
from session_affinity.dataplane.nftables.table import Table
from session_affinity.dataplane.proxy_config import ProxyConfig
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.errors import NodeError

if TYPE_CHECKING:
    from session_affinity.dataplane.differences import Difference

DUMPS = Path(__file__).parent / "dumps"
VERSIONS = ("1.33", "1.37")
NODE, CLIENT = "myk8s-control-plane", "10.10.0.2"
PROXY = ProxyConfig("nftables", "10.10.0.0/16")
ENDPOINTS = tuple(Endpoint(f"10.10.{number}.2", 80, f"webpod{number}", f"worker{number}") for number in (1, 2, 3))
STICKY = ServiceState(
    "default", "sticky", ("10.200.1.17",), CLIENT_IP, 10800, (ServicePort("web", "TCP", 9000, ENDPOINTS),)
)
PLAIN = replace(STICKY, name="plain", cluster_ips=("10.200.1.18",), session_affinity="None", timeout_seconds=None)
NO_ENDPOINT = replace(STICKY, name="nobody", cluster_ips=("10.200.1.19",), ports=(ServicePort("web", "TCP", 9000),))
SERVICES = (STICKY, PLAIN, NO_ENDPOINT)

SVC = "service-4BJXAE53-default/sticky/tcp/web"
PLAIN_SVC = "service-QXHOQIM7-default/plain/tcp/web"
CHAINS = tuple(nftables_layout.endpoint_chains(STICKY))
SETS = tuple(nftables_layout.affinity_sets(STICKY))


@cache
def text_of(version: str) -> str:
    return (DUMPS / f"nftables-{version}.json").read_text()


def dump(version: str, *changes: tuple[str, str], without: str = "") -> nftables_table.Table:
    """Return a node's table with texts replaced and without the items that contain a text; each text must occur."""
    lines = text_of(version).splitlines()
    if without:
        assert any(without in line for line in lines)
        lines = [line for line in lines if without not in line]
    text = "\n".join(lines).replace(",\n]", "\n]")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return nftables_table.parse(json.loads(text))


def compare(table: nftables_table.Table, service: ServiceState = STICKY, node: str = NODE) -> tuple[Difference, ...]:
    return nftables_compare.compare(node, service, PROXY, table)


def only(table: nftables_table.Table, service: ServiceState = STICKY) -> Difference:
    (difference,) = compare(table, service)
    return difference


def rule(chain: str, *parts: str) -> str:
    """Return the line of the rule of a chain that contains these parts."""
    for line in text_of("1.37").splitlines():
        if line.startswith('{"rule"') and f'"chain": "{chain}"' in line and all(part in line for part in parts):
            return line.rstrip(",")
    raise AssertionError(chain, parts)


def swapped(first: str, second: str) -> tuple[tuple[str, str], ...]:
    """Return the changes that swap two lines."""
    return (first, "{@}"), (second, first), ("{@}", second)


MATCHED = f'"right": "@{SETS[1]}"'
UPDATED = f'"set": "@{SETS[1]}"'


# Real nodes have the expected objects.


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_real_node_has_no_differences(version: str, service: ServiceState) -> None:
    assert compare(dump(version), service) == ()


def test_the_layout_derives_from_the_shared_chains_and_sets() -> None:
    assert nftables_layout.layout_of(dump("1.33")) is TableLayout.CHAIN_PER_ENDPOINT
    assert nftables_layout.layout_of(dump("1.37")) is TableLayout.CHAIN_PER_STICKY_ENDPOINT


def test_only_the_older_layout_has_endpoint_chains_without_affinity() -> None:
    old, new = (nftables_expected.expected(PLAIN, PROXY, NODE, layout) for layout in TableLayout)

    assert set(old.chains) == {PLAIN_SVC, *nftables_layout.endpoint_chains(PLAIN)}
    assert set(new.chains) == {PLAIN_SVC}
    assert not new.sets


def test_a_node_without_the_table_lacks_every_chain_and_set() -> None:
    differences = NFTABLES.compare(NodeSnapshot(NODE), STICKY, PROXY)

    absent = {difference.chain for difference in differences if difference.aspect is Aspect.CHAIN_NAMES}
    assert absent == {SVC, *CHAINS, *SETS}
    assert {difference.aspect for difference in differences} == {
        Aspect.CHAIN_NAMES,
        Aspect.ENTRY,
        Aspect.MASQUERADE,
        Aspect.REFUSAL,
        Aspect.FIREWALL,
    }


def test_a_masquerade_rule_may_match_the_port_again() -> None:
    """1.33 does, 1.34 does not; the match is redundant, because the port has led to the chain."""
    port = '{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 9000}}, '

    assert compare(dump("1.33", (port, ""))) == ()
    assert only(dump("1.33", (port, port.replace("9000", "9001")))).aspect is Aspect.MASQUERADE


# Parsing.


def test_rules_have_the_syntax_of_nft() -> None:
    table = dump("1.37")

    assert [rule.spec for rule in table.rules(CHAINS[0])] == [
        f"update @{SETS[0]} {{ ip saddr }}",
        "meta l4proto tcp dnat to 10.10.1.2:80",
    ]
    assert table.rules(PLAIN_SVC)[0].spec == (
        "meta l4proto tcp dnat to numgen random mod 3 map { 0 : 10.10.1.2:80, 1 : 10.10.2.2:80, 2 : 10.10.3.2:80 }"
    )
    assert table.rules("services")[0].spec == (
        "ip daddr @cluster-ips ip saddr != 10.10.0.0/16 set meta mark meta mark | 16384"
    )
    assert table.rules("reject-chain")[0].spec.startswith("reject ")


def test_a_list_of_one_item_equals_the_bare_item() -> None:
    rule_of_fib = '{{"match": {{"op": "==", "left": {{"fib": {{"result": "type", "flags": {}}}}}, "right": "local"}}}}'
    texts = (rule_of_fib.format('["daddr"]'), rule_of_fib.format('"daddr"'))
    tables = [
        nftables_table.parse({"nftables": [{"rule": {"chain": "services", "expr": [json.loads(text)]}}]})
        for text in texts
    ]

    assert [table.rules("services")[0].spec for table in tables] == ["fib daddr type local"] * 2


def test_a_protocol_number_equals_its_name() -> None:
    table = dump("1.37", ('"right": "tcp"', '"right": 6'), ('"tcp", 9000', "6, 9000"))

    assert compare(table) == compare(table, PLAIN) == ()


def test_counters_are_ignored() -> None:
    table = dump("1.37", ('"expr": [', '"expr": [{"counter": {"packets": 3, "bytes": 180}}, '))

    assert compare(table) == ()


def test_an_unknown_expression_is_a_difference_and_not_an_error() -> None:
    table = dump("1.37", ('{"set": {"op": "update"', '{"quantum": {"op": "entangle"}}, {"set": {"op": "update"'))

    assert {(difference.aspect, difference.seen) for difference in compare(table)} == {
        (Aspect.TRANSLATION, 'quantum {"op": "entangle"}'),
    }


@pytest.mark.parametrize("printed", [{}, {"nftables": [{"chain": {}}]}, {"nftables": [{"set": {"name": "x"}}]}])
def test_json_of_another_shape_is_an_error(printed: dict[str, object]) -> None:
    with pytest.raises(NodeError, match="nft printed a table that cannot be read"):
        nftables_table.parse(printed)


# Affinity rules.


@pytest.mark.parametrize("version", VERSIONS)
def test_a_missing_affinity_rule_is_one_difference(version: str) -> None:
    difference = only(dump(version, without=MATCHED))

    assert (difference.chain, difference.aspect) == (SVC, Aspect.AFFINITY_PRESENCE)
    assert difference.seen == "no affinity rule for 10.10.2.2:80 (pod webpod2 on worker2)"
    assert difference.expected == f"ip saddr @{SETS[1]} goto {CHAINS[1]}"


def test_an_affinity_rule_with_the_set_of_another_endpoint() -> None:
    difference = only(dump("1.37", (MATCHED, f'"right": "@{SETS[2]}"')))

    assert (difference.rule, difference.aspect) == (2, Aspect.AFFINITY_ARGUMENTS)
    assert str(difference) == (
        f"{NODE} {SVC} rule 2: ip saddr @{SETS[2]}, expected ip saddr @{SETS[1]} "
        "(Service default/sticky, endpoint 10.10.2.2:80 (pod webpod2 on worker2))"
    )


def test_an_affinity_rule_to_another_endpoint() -> None:
    old = rule(SVC, MATCHED)
    difference = only(dump("1.37", (old, old.replace(f'"target": "{CHAINS[1]}"', f'"target": "{CHAINS[0]}"'))))

    assert (difference.rule, difference.aspect, difference.seen) == (
        2,
        Aspect.AFFINITY_ARGUMENTS,
        f"goto {CHAINS[0]}",
    )


def test_affinity_rules_after_balancing_come_too_late() -> None:
    difference = only(dump("1.37", *swapped(rule(SVC, f'"right": "@{SETS[2]}"'), rule(SVC, "vmap"))))

    assert (difference.rule, difference.aspect) == (4, Aspect.AFFINITY_ORDER)
    assert difference.expected.startswith("before rule 3, numgen random mod 3 vmap")


def test_affinity_rules_out_of_endpoint_order() -> None:
    difference = only(dump("1.37", *swapped(rule(SVC, f'"right": "@{SETS[0]}"'), rule(SVC, MATCHED))))

    assert difference.aspect is Aspect.AFFINITY_ORDER


# Balancing.


def test_a_missing_branch_makes_balancing_uneven() -> None:
    branch = f', [2, {{"goto": {{"target": "{CHAINS[2]}"}}}}]'
    differences = compare(dump("1.37", (branch, ""), ('"mod": 3', '"mod": 2')))

    assert [(difference.aspect, difference.expected, difference.seen) for difference in differences] == [
        (Aspect.BALANCING, "a branch to 10.10.3.2:80 (pod webpod3 on worker3)", "no such branch"),
        (Aspect.PROBABILITY, "numgen random mod 3", "numgen random mod 2"),
    ]


def test_an_endpoint_with_two_branches() -> None:
    differences = compare(
        dump("1.37", (f'[2, {{"goto": {{"target": "{CHAINS[2]}"}}}}]', f'[2, {{"goto": {{"target": "{CHAINS[0]}"}}}}]'))
    )

    assert {(difference.aspect, difference.seen) for difference in differences} == {
        (Aspect.BALANCING, "no such branch"),
        (Aspect.PROBABILITY, "2 branches to 10.10.1.2:80 (pod webpod1 on worker1)"),
    }


def test_round_robin_is_not_random() -> None:
    difference = only(dump("1.37", ('"mode": "random"', '"mode": "inc"')), PLAIN)

    assert (difference.aspect, difference.seen) == (Aspect.PROBABILITY, "numgen inc mod 3")


def test_a_number_without_a_branch() -> None:
    difference = only(dump("1.37", ('[2, {"concat"', '[3, {"concat"')), PLAIN)

    assert (difference.aspect, difference.seen) == (Aspect.PROBABILITY, "branches 0, 1, 3")


def test_the_order_of_branches_is_ignored() -> None:
    first, last = '[0, {"concat": ["10.10.1.2", 80]}]', '[2, {"concat": ["10.10.3.2", 80]}]'
    swapped = (("[0, {", "[@, {"), ("[2, {", "[0, {"), ("[@, {", "[2, {"))

    assert first in text_of("1.37")
    assert last in text_of("1.37")
    assert compare(dump("1.37", *swapped), PLAIN) == ()


def test_a_branch_to_an_unknown_endpoint_is_a_leftover() -> None:
    differences = compare(dump("1.37", ('["10.10.3.2", 80]', '["10.10.3.9", 80]')), PLAIN)

    assert [difference.aspect for difference in differences] == [Aspect.BALANCING, Aspect.LEFTOVER]
    assert "a branch to 10.10.3.9:80, expected no such branch" in str(differences[1])


def test_one_endpoint_is_balanced_with_a_map_or_without() -> None:
    """1.37 writes no map for one endpoint, 1.36 does."""
    single = replace(PLAIN, ports=(ServicePort("web", "TCP", 9000, ENDPOINTS[:1]),))
    old = rule(PLAIN_SVC, "dnat")
    matched = old.partition('{"dnat"')[0]
    plain = matched + '{"dnat": {"addr": "10.10.1.2", "port": 80}}]}}'
    number = '{"numgen": {"mode": "random", "mod": 1, "offset": 0}}'
    mapped = matched + (
        f'{{"dnat": {{"family": "ip", "addr": {{"map": {{"key": {number}, '
        '"data": {"set": [[0, {"concat": ["10.10.1.2", 80]}]]}}}}}]}}'
    )

    for new in (plain, mapped):
        assert compare(dump("1.37", (old, new)), single) == ()
    assert compare(dump("1.37", (old, plain.replace("10.10.1.2", "10.10.1.3"))), single)


# Endpoint chains.


@pytest.mark.parametrize("version", VERSIONS)
def test_a_missing_update_is_one_difference(version: str) -> None:
    difference = only(dump(version, without=UPDATED))

    assert (difference.chain, difference.aspect) == (CHAINS[1], Aspect.TRANSLATION)
    assert difference.seen.startswith("no affinity update rule for 10.10.2.2:80")


def test_an_update_of_the_set_of_another_endpoint() -> None:
    difference = only(dump("1.37", (UPDATED, f'"set": "@{SETS[0]}"')))

    assert (difference.aspect, difference.seen) == (Aspect.TRANSLATION, f"update @{SETS[0]} {{ ip saddr }}")


def test_an_update_after_dnat_is_never_reached() -> None:
    difference = only(dump("1.37", *swapped(rule(CHAINS[1], "update"), rule(CHAINS[1], "dnat"))))

    assert (difference.rule, difference.aspect) == (2, Aspect.TRANSLATION)
    assert difference.expected == "before rule 1, meta l4proto tcp dnat to 10.10.2.2:80"


def test_dnat_to_another_port() -> None:
    difference = only(dump("1.37", ('{"addr": "10.10.2.2", "port": 80}', '{"addr": "10.10.2.2", "port": 8080}')))

    assert (difference.aspect, difference.seen) == (Aspect.TRANSLATION, "dnat to 10.10.2.2:8080")


# Sets.


def of_set(name: str) -> str:
    return next(line for line in text_of("1.37").splitlines() if line.startswith('{"set"') and name in line)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"timeout": 10800', '"timeout": 3600', "timeout 3600 s, expected timeout 10800 s"),
        (', "timeout": 10800', "", "no timeout, expected timeout 10800 s"),
        (
            '"type": "ipv4_addr"',
            '"type": ["ipv4_addr", "inet_service"]',
            "type ipv4_addr . inet_service, expected type",
        ),
    ],
    ids=["another-timeout", "no-timeout", "another-type"],
)
def test_a_set_with_another_timeout_or_type(old: str, new: str, message: str) -> None:
    line = of_set(SETS[1])
    difference = only(dump("1.37", (line, line.replace(old, new))))

    assert (difference.chain, difference.aspect) == (SETS[1], Aspect.AFFINITY_STORE)
    assert message in str(difference)


def test_a_patched_timeout_is_expected() -> None:
    differences = compare(dump("1.37"), replace(STICKY, timeout_seconds=30))

    assert {(difference.chain, difference.aspect) for difference in differences} == {
        (name, Aspect.AFFINITY_STORE) for name in SETS
    }
    assert "expected timeout 30 s (Service default/sticky, timeoutSeconds 30)" in str(differences[0])


def test_a_missing_set_is_one_difference() -> None:
    difference = only(dump("1.37", without=f'{{"set": {{"family": "ip", "name": "{SETS[0]}"'))

    assert (difference.chain, difference.aspect, difference.seen) == (SETS[0], Aspect.CHAIN_NAMES, "no such set")


# Entry to the Service.


@pytest.mark.parametrize(
    ("old", "new", "container", "seen"),
    [
        (f'"{SVC}"}}}}]', f'"{PLAIN_SVC}"}}}}]', "service-ips", f"10.200.1.17 . tcp . 9000 : goto {PLAIN_SVC}"),
        ('["10.200.1.17", "tcp", 9000]', '["10.200.1.16", "tcp", 9000]', "service-ips", "no element 10.200.1.17"),
        ('"10.200.1.17", "10.200.1.18"', '"10.200.1.18"', "cluster-ips", "no element 10.200.1.17"),
    ],
    ids=["to-another-service", "gone", "no-cluster-ip"],
)
def test_a_cluster_ip_that_does_not_lead_to_the_service(old: str, new: str, container: str, seen: str) -> None:
    first, *_ = compare(dump("1.37", (old, new)))

    assert (first.chain, first.aspect) == (container, Aspect.ENTRY)
    assert first.seen.startswith(seen)


def test_an_element_of_another_port_is_a_leftover() -> None:
    element = f'[{{"concat": ["10.200.1.17", "tcp", 9000]}}, {{"goto": {{"target": "{SVC}"}}}}]'
    difference = only(dump("1.37", (element, f"{element}, {element.replace('9000', '9001')}")))

    assert (difference.aspect, difference.seen) == (Aspect.LEFTOVER, f"10.200.1.17 . tcp . 9001 : goto {SVC}")


def test_without_the_rule_that_looks_up_cluster_ips_no_service_works() -> None:
    difference = only(dump("1.37", without="@service-ips"))

    assert (difference.chain, difference.aspect) == ("services", Aspect.ENTRY)


@pytest.mark.parametrize(("version", "chain"), [("1.33", SVC), ("1.37", "services")])
def test_a_missing_masquerade_rule_for_traffic_from_outside(version: str, chain: str) -> None:
    marks = (line for line in text_of(version).splitlines() if '"10.10.0.0"' in line and f'"chain": "{chain}"' in line)
    difference = only(dump(version, without=next(marks).rstrip(",")))

    assert (difference.chain, difference.aspect) == (chain, Aspect.MASQUERADE)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_pod_range_derives_from_the_masquerade_rules(version: str) -> None:
    assert nftables_layout.pod_ranges(dump(version)) == {"10.10.0.0/16"}


def test_another_pod_range() -> None:
    difference = only(dump("1.37", ('"addr": "10.10.0.0"', '"addr": "10.11.0.0"')))

    assert (difference.chain, difference.rule, difference.aspect) == ("services", 1, Aspect.MASQUERADE)
    assert "ip saddr != 10.11.0.0/16, expected ip saddr != 10.10.0.0/16" in str(difference)


def test_a_local_endpoint_that_connects_to_itself_is_masqueraded() -> None:
    difference = compare(dump("1.37"), node="worker1")[0]

    assert (difference.chain, difference.aspect) == ("hairpin-connections", Aspect.MASQUERADE)
    assert difference.expected == "10.10.1.2 . 10.10.1.2 . tcp . 80"


def test_a_service_without_endpoints_has_only_a_refusal() -> None:
    refused = '"target": "reject-chain"'
    difference = only(dump("1.37", (refused, '"target": "somewhere"')), NO_ENDPOINT)

    assert (difference.chain, difference.aspect) == ("no-endpoint-services", Aspect.ENTRY)


def test_a_local_policy_drops_where_the_node_has_no_endpoint() -> None:
    local = nftables_expected.expected(replace(STICKY, internal_policy="Local"), PROXY, NODE)
    with_endpoint = nftables_expected.expected(replace(STICKY, internal_policy="Local"), PROXY, "worker2")

    assert "10.200.1.17 . tcp . 9000 : drop" in map(str, local.elements)
    assert not local.names
    assert set(with_endpoint.names) == {SVC.replace("service-", "local-"), CHAINS[1], SETS[1]}


# Leftovers.


def test_every_object_of_a_former_endpoint_is_a_leftover() -> None:
    without_last = replace(STICKY, ports=(ServicePort("web", "TCP", 9000, ENDPOINTS[:2]),))
    differences = compare(dump("1.37"), without_last)

    leftovers = [difference for difference in differences if difference.aspect is Aspect.LEFTOVER]
    assert {(difference.chain, difference.seen.split()[1]) for difference in leftovers if difference.rule is None} == {
        (CHAINS[2], "chain"),
        (SETS[2], "set"),
    }
    assert {difference.rule for difference in leftovers} == {3, 4, None}
    assert [difference.seen for difference in differences if difference.aspect is Aspect.PROBABILITY] == [
        "numgen random mod 3"
    ]


def test_sets_and_affinity_rules_are_leftovers_without_affinity() -> None:
    plain = replace(STICKY, session_affinity="None", timeout_seconds=None)
    leftovers = {
        difference.chain for difference in compare(dump("1.37"), plain) if difference.aspect is Aspect.LEFTOVER
    }

    assert leftovers == {SVC, *CHAINS, *SETS}


def test_empty_chains_are_not_leftovers() -> None:
    """kube-proxy flushes stale chains at once and deletes them in a later sync."""
    empty = (
        '"chain": {"family": "ip", "table": "kube-proxy", "name": "services"',
        '"chain": {"name": "@"}}, {"chain": {"name": "services"',
    )
    table = dump("1.37", empty, ('"@"', f'"{CHAINS[0]}"'), without=f'"chain": "{CHAINS[0]}"')
    without_first = replace(STICKY, ports=(ServicePort("web", "TCP", 9000, ENDPOINTS[1:]),))

    assert CHAINS[0] in table
    assert CHAINS[0] not in {difference.chain for difference in compare(table, without_first)}


def test_an_unexpected_rule() -> None:
    old = rule(SVC, "vmap")
    extra = old.partition('"expr"')[0] + '"expr": [{"accept": null}]}}'
    difference = only(dump("1.37", (old, f"{extra},\n{old}")))

    assert (difference.rule, difference.aspect, difference.seen) == (4, Aspect.UNEXPECTED_RULE, "accept")


# The methods of the Backend protocol.


def state(version: str = "1.37", *changes: tuple[str, str]) -> NodeSnapshot:
    return NodeSnapshot(NODE, nftables=dump(version, *changes))


@pytest.mark.parametrize("version", VERSIONS)
def test_timeouts_are_those_of_the_sets(version: str) -> None:
    assert NFTABLES.affinity_timeouts(state(version), STICKY) == dict.fromkeys(SETS, 10800)
    assert NFTABLES.affinity_timeouts(state(version), PLAIN) == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_an_affinity_entry_has_the_time_left(version: str) -> None:
    (entry,) = NFTABLES.affinity_entries(state(version), STICKY)

    assert (entry.client, entry.stamps, entry.is_live) == (CLIENT, (), True)
    assert entry.store in SETS
    assert entry.endpoint in ENDPOINTS
    assert entry.seconds_left is not None
    assert 10700 < entry.seconds_left <= 10800
    assert NFTABLES.existing_stores(state(version), STICKY) == SETS


def test_normalised_rules_have_no_clients() -> None:
    rules = NFTABLES.normalised(state(), STICKY)
    of_another_client = NFTABLES.normalised(state("1.37", (CLIENT, "10.10.0.9")), STICKY)

    assert rules == of_another_client
    assert len(rules) == 2 + 4 + 3 * 2 + 3
    assert rules != NFTABLES.normalised(state("1.37", ('"timeout": 10800', '"timeout": 30')), STICKY)


@pytest.mark.parametrize("version", VERSIONS)
def test_without_affinity_there_are_no_affinity_rules(version: str) -> None:
    assert NFTABLES.affinity_rules(state(version), PLAIN) == ()
    assert len(NFTABLES.affinity_rules(state(version), STICKY)) == 3 + 3 + 3


@pytest.mark.parametrize("version", VERSIONS)
def test_the_objects_of_a_service_include_those_of_former_endpoints(version: str) -> None:
    without_endpoints = replace(STICKY, ports=(ServicePort("web", "TCP", 9000),))

    objects = set(NFTABLES.objects_of(state(version), without_endpoints))

    assert {f"chain {name}" for name in (SVC, *CHAINS)} <= objects
    assert {f"set {name}" for name in SETS} <= objects
    assert "element cluster-ips 10.200.1.17" in objects
    assert NFTABLES.objects_of(state(version), replace(STICKY, name="other", cluster_ips=("10.200.1.99",))) == ()


@pytest.mark.parametrize("version", VERSIONS)
def test_an_address_that_another_service_has_now_is_not_an_object_of_the_deleted_one(version: str) -> None:
    deleted = replace(STICKY, name="deleted")

    assert NFTABLES.objects_of(state(version), deleted) == ()
    assert NFTABLES.objects_of(state(version), STICKY) != ()


def test_what_refuses_traffic_from_outside_is_an_object_of_the_service() -> None:
    port = replace(STICKY.ports[0], node_port=30123)
    reached = replace(STICKY, ports=(port,), external_ips=("198.51.100.7",), balancer_ips=("198.51.100.8",))
    refused = {
        "no-endpoint-services": {
            ("198.51.100.7", "tcp", "9000"): "goto reject-chain",
            ("198.51.100.8", "tcp", "1"): "drop",
        },
        "no-endpoint-nodeports": {("tcp", "30123"): "drop", ("tcp", "30124"): "drop"},
    }

    assert NFTABLES.objects_of(NodeSnapshot("a", nftables=Table(maps=refused)), reached) == (
        "element no-endpoint-nodeports tcp . 30123 : drop",
        "element no-endpoint-services 198.51.100.7 . tcp . 9000 : goto reject-chain",
    )


def test_a_node_has_the_services_whose_chains_it_has() -> None:
    assert NFTABLES.has_service(state(), STICKY)
    assert not NFTABLES.has_service(state(), replace(STICKY, name="other"))


def test_pin_argv_moves_the_element_in_one_transaction() -> None:
    program, option, text = NFTABLES.pin_argv(STICKY, CLIENT, SETS[1])
    commands = [next(iter(command.items())) for command in json.loads(text)["nftables"]]

    assert (program, option) == ("nft", "-j")
    assert [(verb, body["element"]["name"]) for verb, body in commands] == [
        *((verb, name) for name in SETS for verb in ("add", "delete")),
        ("add", SETS[1]),
    ]


def test_ipv6_rules() -> None:
    endpoint = Endpoint("fd00:10::2", 80, "webpod1", "worker1")
    six = replace(
        STICKY, cluster_ips=("fd00:200::11",), family="IPv6", ports=(ServicePort("web", "TCP", 9000, (endpoint,)),)
    )
    expected = nftables_expected.expected(six, replace(PROXY, cluster_cidr="fd00:10::/56"), NODE)

    rules = [expected_rule.rule.spec for chain in expected.chains.values() for expected_rule in chain]
    (name,) = expected.sets
    assert f"ip6 saddr @{name} goto {name.replace('affinity-', 'endpoint-')}" in rules
    assert f"update @{name} {{ ip6 saddr }}" in rules
    assert "meta l4proto tcp dnat to [fd00:10::2]:80" in rules
    assert expected.sets[name].type == "ipv6_addr"
    assert "__fd00.10..2/80" in name
