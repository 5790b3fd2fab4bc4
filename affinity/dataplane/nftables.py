"""kube-proxy's nftables mode: read a node's table, say what it should hold, and how the two differ."""

from affinity.dataplane.nftables_compare import compare
from affinity.dataplane.nftables_expected import Expected, expected
from affinity.dataplane.nftables_layout import (
    Layout,
    affinity_sets,
    endpoint_chains,
    layout_of,
    pod_ranges,
    port_chains,
)
from affinity.dataplane.nftables_rules import Clause, Rule
from affinity.dataplane.nftables_table import Element, NftSet, Table, parse

__all__ = [
    "Clause",
    "Element",
    "Expected",
    "Layout",
    "NftSet",
    "Rule",
    "Table",
    "affinity_sets",
    "compare",
    "endpoint_chains",
    "expected",
    "layout_of",
    "parse",
    "pod_ranges",
    "port_chains",
]
