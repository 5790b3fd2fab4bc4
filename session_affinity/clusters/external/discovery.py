"""What kube-proxy is like on a cluster that nobody told us about: found out, with where each fact was read.

Asked in this order, the first that tells the mode wins: kube-proxy itself on every node, through the node agent
(``/configz``, in older versions ``/proxyMode``, on 127.0.0.1:10249); the ConfigMap that kubeadm and kind leave; the
rules on the nodes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import yaml

from session_affinity.dataplane.chain_names import CLUSTER_CHAIN
from session_affinity.dataplane.iptables.expected import MASQUERADE_CHAIN, SERVICES_CHAIN
from session_affinity.dataplane.model import FAMILIES, family_of_range
from session_affinity.dataplane.nftables.layout import pod_ranges
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import CONFIG_MAPS
from session_affinity.nodes import configz
from session_affinity.nodes.kube_proxy import METRICS_ADDRESS
from session_affinity.nodes.nodes import Nodes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.kube.api import Api
    from session_affinity.nodes.node import Node

UNKNOWN: Final = "unknown"
NONE: Final = "none"
"""The mode where nodes were looked at and have no kube-proxy."""
IPTABLES: Final = "iptables"
NFTABLES: Final = "nftables"
BY_CLUSTER_CIDR: Final = "ClusterCIDR"
NO_ACCESS: Final = "nothing runs on the nodes without --node-access agent: claims about nodes cannot be judged here"
_ASK: Final = (
    "sh",
    "-c",
    rf"""
ask() {{ curl -q -s -f -m 2 --noproxy '*' "http://{METRICS_ADDRESS}/$1"; }}
config=$(ask configz) && printf 'configz %s\n' "$config"
mode=$(ask proxyMode) && printf 'mode %s\n' "$mode"
exit 0
""",
)


@dataclass(frozen=True)
class Proxy:
    """What is known of kube-proxy; ``source`` is where it was read.

    ``local_by`` is how it tells pods from others; with ClusterCIDR, ``cluster_cidr`` is the range, or those of two
    families with a comma between; None for none.
    ``cidr_source`` is where that was read if elsewhere; ``unread`` says which nodes' rules the agents cannot read.
    """

    mode: str
    source: str
    cluster_cidr: str | None = None
    masquerade_bit: int = 14
    masquerade_all: bool = False
    local_by: str = BY_CLUSTER_CIDR
    cidr_source: str = ""
    unread: str = ""

    @property
    def not_judged(self) -> str:
        """Why no claim about nodes can be judged; empty when those about this mode can, if there are any."""
        if self.unread:
            return self.unread
        if self.mode == NONE:
            return f"the cluster has no kube-proxy ({self.source}): claims about its rules cannot be judged here"
        if self.mode == UNKNOWN:
            return f"the mode of kube-proxy is not known ({self.source})"
        if self.local_by != BY_CLUSTER_CIDR:
            return f"kube-proxy tells pods from others by {self.local_by}: the suite knows its rules for ClusterCIDR"
        if self.masquerade_all:
            return "kube-proxy runs with masqueradeAll: the suite does not know its rules for that"
        return ""

    def __str__(self) -> str:
        if self.mode in (UNKNOWN, NONE):
            return f"kube-proxy: {self.mode} ({self.source})"
        cidr = self.cluster_cidr or "none"
        if self.local_by != BY_CLUSTER_CIDR:
            cidr = f"not used, pods are told by {self.local_by}"
        where = f" (from {self.cidr_source})" if self.cidr_source else ""
        return f"kube-proxy: {self.mode} mode, cluster CIDR {cidr}{where}, read from {self.source}"


def discover(api: Api, nodes: Mapping[str, Node], *, deadlines: Deadlines = DEFAULTS) -> Proxy:
    """Return what kube-proxy is like; raises NodeError when a node's agent fails."""
    configured = from_config_map(api)
    if not nodes:
        return configured or Proxy(UNKNOWN, "no ConfigMap kube-proxy can be read in kube-system, and no node")
    reader = Nodes(nodes, deadlines=deadlines)
    found = _from_nodes(reader, configured)
    # Without this, rules that are there and cannot be read would count as rules that are not there.
    unread = unreadable(reader.read().values()) if found.mode in (IPTABLES, NONE) else ""
    return replace(found, mode=UNKNOWN if found.mode == NONE else found.mode, unread=unread) if unread else found


def unreadable(states: Iterable[NodeSnapshot]) -> str:
    """Return in words which nodes have rules in the legacy tables that the agent's image has no program for."""
    blind = [
        state.node
        for state in states
        if SERVICES_CHAIN not in state.ruleset.chains() and any("legacy-save" in what for what in state.missing)
    ]
    if not blind:
        return ""
    return f"rules are in the legacy iptables' tables on {', '.join(blind)}, which the agent's image cannot read"


def _from_nodes(reader: Nodes, configured: Proxy | None) -> Proxy:
    told = from_answers({name: ended.check().stdout for name, ended in reader.run_everywhere(_ASK).items()})
    if told and told.local_by:
        return told
    if configured:
        mode, source = (told.mode, f"{told.source}, the rest from {configured.source}") if told else ("", "")
        return replace(configured, mode=mode or configured.mode, source=source or configured.source)
    # kube-proxy has rules of both families, whatever the cluster's are; ranges stand in those it has pods of.
    states = [state for family in FAMILIES for state in reader.in_family(family).read().values()]
    seen = from_rules(states)
    return replace(seen, mode=told.mode, source=told.source, cidr_source=seen.source) if told else seen


def from_answers(answers: Mapping[str, str]) -> Proxy | None:
    """Return what kube-proxy told on the nodes; None when it told nothing on any.

    ``local_by`` is empty when only the mode was told. Nodes that disagree make an unknown mode that says so.
    """
    told = {name: found for name, text in answers.items() if (found := _answer(text))}
    if not told:
        return None
    kinds: dict[Proxy, list[str]] = defaultdict(list)
    for name, found in told.items():
        kinds[found].append(name)
    if len(kinds) > 1:
        differing = "; ".join(f"{', '.join(names)}: {_short(found)}" for found, names in kinds.items())
        return Proxy(UNKNOWN, f"the nodes' kube-proxies differ: {differing}")
    found = next(iter(kinds))
    if len(told) < len(answers):
        silent = [name for name in answers if name not in told]
        return Proxy(
            UNKNOWN, f"no kube-proxy answers at {METRICS_ADDRESS} on {', '.join(silent)}; elsewhere {found.mode} mode"
        )
    return replace(found, source=f"{found.source} on {len(told)} of {len(answers)} nodes")


def from_config_map(api: Api) -> Proxy | None:
    """Return what the ConfigMap of kubeadm says; None where there is none or it may not be read."""
    try:
        stored = api.get(CONFIG_MAPS, "kube-proxy", "kube-system")
    except ApiError:
        return None
    text = (stored.get("data") or {}).get("config.conf")
    try:
        settings = yaml.safe_load(text) if text else None
    except yaml.YAMLError:
        return None
    return from_settings(settings, "ConfigMap kube-system/kube-proxy") if isinstance(settings, dict) else None


def from_settings(settings: Mapping[str, Any], source: str) -> Proxy:
    """Return what a KubeProxyConfiguration says; what it leaves out has kube-proxy's defaults on Linux."""
    mode = str(settings.get("mode") or IPTABLES)
    own = settings.get(mode) or {}
    return Proxy(
        mode,
        source,
        _spelled(str(settings.get("clusterCIDR") or "")),
        masquerade_bit=int(own.get("masqueradeBit") or 14),
        masquerade_all=bool(own.get("masqueradeAll")),
        local_by=str(settings.get("detectLocalMode") or BY_CLUSTER_CIDR),
    )


def from_rules(states: Iterable[NodeSnapshot]) -> Proxy:
    """Return what the rules on the nodes show."""
    seen = list(states)
    source = f"the rules of {len({state.node for state in seen})} nodes"
    if tables := [state.nftables for state in seen if state.nftables]:
        return _with_range(NFTABLES, source, {range_ for table in tables for range_ in pod_ranges(table)})
    with_rules = [state for state in seen if SERVICES_CHAIN in state.ruleset.chains()]
    if not with_rules:
        missing = sorted({what for state in seen for what in state.missing if "save" in what or "nft" in what})
        unread = f"; {', '.join(missing)}" if missing else ""
        return Proxy(NONE, f"none answers at {METRICS_ADDRESS}, and {source} show none{unread}")
    return _with_range(IPTABLES, source, {range_ for state in with_rules for range_ in _ranges(state)})


def _with_range(mode: str, source: str, found: Collection[str]) -> Proxy:
    ranges = sorted(found, key=lambda one: (":" in one, one))
    if len({family_of_range(one) for one in ranges}) < len(ranges):
        return Proxy(mode, source, local_by=f"several ranges ({', '.join(ranges)})")
    return Proxy(mode, source, ",".join(ranges) or None)


def _answer(text: str) -> Proxy | None:
    said = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    try:
        settings = configz.parse(said["configz"])
    except (KeyError, ValueError):
        mode = said.get("mode", "").strip()
        return Proxy(mode, f"kube-proxy itself ({METRICS_ADDRESS}/proxyMode)", local_by="") if mode else None
    return from_settings(settings, f"kube-proxy itself ({METRICS_ADDRESS}/configz)")


def _ranges(state: NodeSnapshot) -> Iterable[str]:
    """Return the ranges that the rules of Services take pods to be in."""
    for name, chain in state.ruleset.chains().items():
        if name.startswith(CLUSTER_CHAIN):
            for rule in chain.rules:
                source = rule.option("-s")
                if rule.target == MASQUERADE_CHAIN and source and source.negated:
                    yield source.value


def _spelled(ranges: str) -> str | None:
    """Return ranges with nothing but a comma between; None where there is none."""
    return ",".join(one.strip() for one in ranges.split(",") if one.strip()) or None


def _short(proxy: Proxy) -> str:
    return f"{proxy.mode}, {proxy.local_by} {proxy.cluster_cidr or ''}".strip()
