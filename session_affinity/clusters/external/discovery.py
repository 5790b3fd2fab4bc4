"""Discover the settings of an external cluster's kube-proxies, node by node, and record the source of each.

The sources, of which the first that answers counts: kube-proxy itself on every node, through the node agent
(``/configz``, or ``/proxyMode`` where that alone answers, at 127.0.0.1:10249, with its version in ``/metrics``); the
ConfigMap that kubeadm and kind leave; the rules on the nodes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import yaml

from session_affinity.clusters.external.rule_settings import pods_past_local_policies, shown_by
from session_affinity.clusters.options import NO_ACCESS
from session_affinity.dataplane.chain_names import CLUSTER_CHAIN
from session_affinity.dataplane.iptables.expected import MASQUERADE_CHAIN, SERVICES_CHAIN
from session_affinity.dataplane.local_traffic import BRIDGE_INTERFACE, INTERFACE_NAME_PREFIX
from session_affinity.dataplane.model import FAMILIES, family_of_range
from session_affinity.dataplane.nftables.layout import pod_interfaces, pod_ranges
from session_affinity.dataplane.pages import METRICS_ADDRESS, release_in
from session_affinity.dataplane.proxy_config import (
    IPTABLES,
    IPVS,
    NFTABLES,
    NO_KUBE_PROXY,
    UNKNOWN,
    ProxyConfig,
    ProxyConfigs,
    cluster_cidr_of,
)
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import CONFIG_MAPS
from session_affinity.nodes import configz
from session_affinity.nodes.by_node import missing_nodes_error
from session_affinity.nodes.nodes import Nodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from session_affinity.agents.fleet import Fleet
    from session_affinity.dataplane.recognition import ServiceProgram
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.kube.api import Api
    from session_affinity.nodes.node import Node
    from session_affinity.releases import Release

CONFIG_MAP: Final = "ConfigMap kube-system/kube-proxy"
RULES: Final = "the rules on the nodes"


@dataclass(frozen=True)
class Pages:
    """What a node's kube-proxy answered: its settings, or its mode alone; neither when it did not answer.

    ``release`` is None when it did not say its version.
    """

    config: ProxyConfig | None = None
    mode: str = ""
    release: Release | None = None

    @classmethod
    def parse(cls, text: str) -> Pages:
        """Read what the command printed on a node; a page that cannot be read counts as no answer."""
        pages = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
        mode = pages.get("mode", "").strip()
        release = release_in(text)
        try:
            configuration = configz.parse(pages["configz"])
            source = f"kube-proxy itself ({METRICS_ADDRESS}/configz)"
            config = ProxyConfig.from_configuration(configuration, source)
            return cls(replace(config, release=release), mode, release)
        except (KeyError, ValueError):
            return cls(mode=mode, release=release)

    def __bool__(self) -> bool:
        return self.config is not None or bool(self.mode)


def discover(
    api: Api,
    nodes: Mapping[str, Node],
    *,
    replacing: ServiceProgram | None = None,
    deadlines: Deadlines = DEFAULTS,
    fleet: Fleet | None = None,
) -> ProxyConfigs:
    """Return the settings of the kube-proxies of these nodes, without nodes those of the ConfigMap.

    The ConfigMap may be what is left of a kube-proxy that was replaced: where ``replacing`` is a program that serves
    all Services, it does not count. Nodes that do not answer are left out; raises NodeError when none does.
    """
    stored = from_config_map(api)
    if not nodes and replacing is not None:
        return ProxyConfigs(default=ProxyConfig(NO_KUBE_PROXY, None, source=str(replacing)), unreadable=NO_ACCESS)
    if not nodes:
        nowhere = ProxyConfig(UNKNOWN, None, source=f"{CONFIG_MAP} cannot be read, and no node")
        return ProxyConfigs(
            default=nowhere if stored is None else ProxyConfig.from_configuration(stored, CONFIG_MAP),
            unreadable=NO_ACCESS,
        )
    reader = Nodes(nodes, deadlines=deadlines, fleet=fleet)
    # A node that does not answer is left out of the result.
    done = reader.pages().readable
    # kube-proxy has rules of both families, whatever the cluster's are; ranges stand in those it has pods of.
    reads = [reader.in_family(family).read() for family in FAMILIES]
    answering = [name for name in done if all(name in read for read in reads)]
    if not answering:
        raise missing_nodes_error(reader.missing)
    pages = {name: Pages.parse(done[name]) for name in answering}
    states = [read[name] for read in reads for name in answering]
    by_node = from_pages(pages, stored, states) if any(pages.values()) else from_silence(stored, states)
    return ProxyConfigs(by_node, unreadable=unreadable(states, by_node))


def from_pages(
    pages: Mapping[str, Pages], stored: Mapping[str, Any] | None, states: Iterable[NodeSnapshot]
) -> dict[str, ProxyConfig]:
    """Return each node's settings, where some kube-proxy answered; what one leaves out is in ConfigMap or rules.

    The mode of one that does not answer while others do is unknown: it may be about to start.
    """
    seen = from_rules(states)
    return {name: _from_page(page, stored, seen[name]) for name, page in pages.items()}


def _from_page(page: Pages, stored: Mapping[str, Any] | None, seen: ProxyConfig) -> ProxyConfig:
    if page.config is not None:
        return page.config
    if not page.mode:
        source = f"no kube-proxy answers at {METRICS_ADDRESS}, and on other nodes one does"
        return ProxyConfig(UNKNOWN, None, source=source)
    source = f"kube-proxy itself ({METRICS_ADDRESS}/proxyMode), the rest from"
    if stored is not None:
        config = ProxyConfig.from_configuration({**stored, "mode": page.mode}, f"{source} {CONFIG_MAP}")
        return replace(config, release=page.release)
    return replace(seen, mode=page.mode, release=page.release, source=f"{source} {seen.source}")


def from_silence(stored: Mapping[str, Any] | None, states: Iterable[NodeSnapshot]) -> dict[str, ProxyConfig]:
    """Return each node's settings, where no kube-proxy answered: it may serve its pages elsewhere.

    A ConfigMap may be what is left of a kube-proxy that was replaced: it does not count where no node has rules.
    """
    read = list(states)
    seen = from_rules(read)
    no_rules = all(config.mode == NO_KUBE_PROXY for config in seen.values()) and not _missing(read)
    if stored is None or no_rules:
        return seen
    return dict.fromkeys(seen, ProxyConfig.from_configuration(stored, CONFIG_MAP))


def unreadable(states: Iterable[NodeSnapshot], configs: Mapping[str, ProxyConfig]) -> str:
    """Return in words which nodes have rules in the legacy tables that the agent's image has no program for.

    Without this, rules that are there and cannot be read would count as rules that are not there.
    """
    blind = [state.node for state in states if configs[state.node].mode != NFTABLES and _has_unreadable_rules(state)]
    if not blind:
        return ""
    nodes = ", ".join(dict.fromkeys(blind))
    return f"rules are in the legacy iptables' tables on {nodes}, which the agent's image cannot read"


def from_config_map(api: Api) -> Mapping[str, Any] | None:
    """Return the KubeProxyConfiguration in the ConfigMap of kubeadm; None where there is none that can be read."""
    try:
        stored = api.get(CONFIG_MAPS, "kube-proxy", "kube-system")
    except ApiError:
        return None
    try:
        configuration = yaml.safe_load((stored.get("data") or {}).get("config.conf") or "")
        ProxyConfig.from_configuration(configuration)
    except (yaml.YAMLError, ValueError):
        return None
    return configuration if isinstance(configuration, dict) else None


def from_rules(states: Iterable[NodeSnapshot]) -> dict[str, ProxyConfig]:
    """Return the settings of each node as far as its rules show them (``rule_settings``), and how pods are recognised.

    Nodes that tell them by different ranges do not detect local traffic by cluster CIDR. Where all traffic to cluster
    IPs is masqueraded only Services with a Local policy show that, so that it may not be known.
    """
    by_node: dict[str, list[NodeSnapshot]] = defaultdict(list)
    for state in states:
        by_node[state.node].append(state)
    modes = {name: _mode(of_node) for name, of_node in by_node.items()}
    ranges = {range_ for name, of_node in by_node.items() for range_ in _ranges(of_node, modes[name])}
    in_order = sorted(ranges, key=lambda range_: (":" in range_, range_))
    several = len({family_of_range(range_) for range_ in ranges}) < len(ranges)
    if set(modes.values()) == {NO_KUBE_PROXY}:
        source = f"no kube-proxy answers at {METRICS_ADDRESS}, and {len(by_node)} nodes have no rules of one"
        return {name: ProxyConfig(NO_KUBE_PROXY, None, source=source + _missing(by_node[name])) for name in by_node}
    shown = ProxyConfig(UNKNOWN, cluster_cidr_of(in_order), source=RULES)
    interfaces = {found for name, of_node in by_node.items() for found in _interfaces(of_node, modes[name])}
    if several or len(interfaces) > 1 or (interfaces and ranges):
        several_ways = ", ".join((*in_order, *(f"interface {name}" for name, _ in sorted(interfaces))))
        source = f"{RULES} have several ranges: {several_ways}"
        shown = replace(shown, cluster_cidr=None, detect_local_mode=UNKNOWN, source=source)
    elif interfaces:
        shown = replace(shown, **_by_interface(*next(iter(interfaces))))
    nothing = f"no kube-proxy answers at {METRICS_ADDRESS}, and there are no rules of one"
    settings = {name: shown_by(of_node, modes[name]) for name, of_node in by_node.items()}
    if not ranges and not interfaces and any(fields["masquerade_all"] for fields in settings.values()):
        source = f"{RULES} masquerade all traffic to cluster IPs, and do not show which is that of pods"
        shown = replace(shown, detect_local_mode=UNKNOWN, source=source)
    return {
        name: replace(shown, mode=mode, **settings[name])
        if mode in (IPTABLES, NFTABLES, IPVS)
        else ProxyConfig(UNKNOWN, None, source=nothing + _missing(by_node[name]))
        for name, mode in modes.items()
    }


def _mode(states: Iterable[NodeSnapshot]) -> str:
    """Return the mode that a node's rules show: none for a node without rules, unknown where some cannot be read.

    In ipvs mode KUBE-SERVICES looks the addresses of Services up in ipsets (pkg/proxy/ipvs/proxier.go).
    """
    seen = list(states)
    if any(state.nftables is not None for state in seen):
        return NFTABLES
    rules = [rule for state in seen for rule in state.ruleset.rules(SERVICES_CHAIN)]
    if any(rule.match("set") for rule in rules):
        return IPVS
    if any(SERVICES_CHAIN in state.ruleset.chains() for state in seen):
        return IPTABLES
    return UNKNOWN if any(_has_unreadable_rules(state) for state in seen) else NO_KUBE_PROXY


def _ranges(states: Iterable[NodeSnapshot], mode: str) -> Iterable[str]:
    """Yield the ranges that the rules of a node take pods to be in."""
    for state in states:
        if mode == NFTABLES:
            yield from pod_ranges(state.nftables) if state.nftables is not None else ()
        else:
            yield from _not_of_pods(state, "-s")
            yield from pods_past_local_policies(state, "-s")


def _interfaces(states: Iterable[NodeSnapshot], mode: str) -> Iterable[tuple[str, bool]]:
    """Yield the interfaces, or beginnings of their names if True, that the rules of a node take pods to come from."""
    for state in states:
        if mode == NFTABLES:
            names = pod_interfaces(state.nftables) if state.nftables is not None else frozenset()
        else:
            names = frozenset((*_not_of_pods(state, "-i"), *pods_past_local_policies(state, "-i")))
        yield from ((name.rstrip("+*"), name.endswith(("+", "*"))) for name in names)


def _not_of_pods(state: NodeSnapshot, option: str) -> Iterable[str]:
    """Yield the values of a negated option in the rules that mark traffic to cluster IPs for masquerading."""
    for name, chain in state.ruleset.chains().items():
        if name.startswith(CLUSTER_CHAIN):
            for rule in chain.rules:
                found = rule.option(option)
                if rule.target == MASQUERADE_CHAIN and found and found.negated:
                    yield found.value


def _by_interface(name: str, is_prefix: bool) -> dict[str, Any]:  # noqa: FBT001
    if is_prefix:
        return {"detect_local_mode": INTERFACE_NAME_PREFIX, "interface_name_prefix": name}
    return {"detect_local_mode": BRIDGE_INTERFACE, "bridge_interface": name}


def _has_unreadable_rules(state: NodeSnapshot) -> bool:
    return SERVICES_CHAIN not in state.ruleset.chains() and any("legacy-save" in what for what in state.missing)


def _missing(states: Iterable[NodeSnapshot]) -> str:
    """Return in words which programs to read rules with a node lacks; empty when it has all."""
    missing = {what for state in states for what in state.missing if "save" in what or "nft" in what}
    return f"; {', '.join(sorted(missing))}" if missing else ""
