"""The settings of kube-proxy that rules, deadlines and claims depend on, node by node.

Source of names, defaults and meanings: KubeProxyConfiguration (k8s.io/kube-proxy/config/v1alpha1/types.go,
pkg/proxy/apis/config/v1alpha1/defaults.go).
"""

from __future__ import annotations

import ipaddress
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

from session_affinity.dataplane.local_traffic import (
    BRIDGE_INTERFACE,
    CLUSTER_CIDR,
    INTERFACE_NAME_PREFIX,
    LOCAL_MODES,
    NODE_CIDR,
    PRIMARY,
    LocalTraffic,
    NodePortAddresses,
    names_loopback,
)
from session_affinity.dataplane.model import NEWEST_RELEASE, canonical_address, family_of, family_of_range, readable
from session_affinity.errors import ClusterError
from session_affinity.releases import known_release
from session_affinity.text import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from session_affinity.dataplane.model import Family
    from session_affinity.releases import Release

IPTABLES: Final = "iptables"
NFTABLES: Final = "nftables"
IPVS: Final = "ipvs"
UNKNOWN: Final = "unknown"
"""The mode of a kube-proxy that could not be discovered, and the detectLocalMode of one whose rules do not show it."""
NO_KUBE_PROXY: Final = "none"
"""The mode where there is no kube-proxy."""

MASQUERADE_BIT: Final = 14
SYNC_PERIOD_SECONDS: Final = 30.0
MIN_SYNC_PERIOD_SECONDS: Final = 1.0
"""The defaults; kube-proxy takes a minSyncPeriod of 0 for one that is left out."""

ZONE_LABEL: Final = "topology.kubernetes.io/zone"
EXTERNAL_IPS: Final = "AllowServiceExternalIPs"
"""The feature gate without which kube-proxy overlooks externalIPs (KEP-5707)."""
LOCALHOST_NODE_PORTS: Final = "KubeProxyNFTablesLocalhostNodePorts"
"""The feature gate with which kube-proxy in nftables mode answers node ports on loopback addresses (alpha in 1.37)."""
NODE_HINTS: Final = "PreferSameTrafficDistribution"
"""The feature gate with which kube-proxy follows hints for nodes (alpha in 1.33, on by default from 1.34)."""
_STAGES: Final[Mapping[str, Mapping[str, Release]]] = {
    LOCALHOST_NODE_PORTS: {"AllAlpha": (1, 37)},
    NODE_HINTS: {"AllAlpha": (1, 33), "AllBeta": (1, 34), "": (1, 35)},
}
"""The first release of each stage of a gate, by the gate that turns all of that stage on or off; none for the last.

Source: pkg/features/kube_features.go; beta gates are on by default, and those of the last stage are locked.
"""

_DURATION: Final = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)(?P<unit>ns|us|µs|ms|h|m|s)")
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class ProxyConfig:
    """The settings of one node's kube-proxy, and what they depend on of its Node object.

    ``mode`` is kube-proxy's, or ``UNKNOWN`` or ``NO_KUBE_PROXY``. ``cluster_cidr`` is the range of the pods, or those
    of two families with a comma between; None when kube-proxy has none: it then adds no masquerade rule for the cluster
    IP. ``sync_period`` and ``min_sync_period`` are in seconds. An empty ``node_port_addresses`` is the mode's default:
    all addresses in iptables mode, the primary ones in nftables mode. ``bind_address`` is empty when it is that of all
    interfaces. ``pod_cidrs`` are the Node's, which detectLocalMode NodeCIDR uses; None when they are not known.
    ``release`` is kube-proxy's; None when it is not known.

    ``zones`` are those of the nodes by name, which matter to Services whose endpoints have hints. ``node_addresses``
    are the addresses of the nodes by name, as in the Node's status: a load balancer's source ranges that contain a
    node's own address let in what the node sends to the load balancer. Of a node that is not there, the rule for that
    may exist or not. ``source`` says where the settings were read; it is for display, and two that differ in it alone
    are equal.
    """

    mode: str
    cluster_cidr: str | None
    masquerade_bit: int = MASQUERADE_BIT
    masquerade_all: bool = False
    detect_local_mode: str = CLUSTER_CIDR
    bridge_interface: str = ""
    interface_name_prefix: str = ""
    sync_period: float = SYNC_PERIOD_SECONDS
    min_sync_period: float = MIN_SYNC_PERIOD_SECONDS
    node_port_addresses: tuple[str, ...] = ()
    localhost_node_ports: bool = True
    feature_gates: Mapping[str, bool] = field(default_factory=dict, hash=False)
    bind_address: str = ""
    pod_cidrs: tuple[str, ...] | None = None
    release: Release | None = None
    zones: Mapping[str, str] = field(default_factory=dict, hash=False)
    node_addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    source: str = field(default="", compare=False)

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], source: str = "") -> Self:
        """Read a KubeProxyConfiguration; what it leaves out has kube-proxy's defaults on Linux.

        Raises ValueError when a setting is not of its type.
        """
        try:
            return cls._read(configuration, source)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"no KubeProxyConfiguration: {error}") from error

    @classmethod
    def _read(cls, configuration: Mapping[str, Any], source: str) -> Self:
        mode = str(configuration.get("mode") or IPTABLES)
        of_mode = configuration.get(mode) or {}
        # ipvs takes these two from the section of iptables.
        masquerade = of_mode if mode == NFTABLES else configuration.get(IPTABLES) or {}
        bit = masquerade.get("masqueradeBit")
        local = configuration.get("detectLocal") or {}
        localhost = (configuration.get(IPTABLES) or {}).get("localhostNodePorts")
        default_min = MIN_SYNC_PERIOD_SECONDS if mode in (IPTABLES, NFTABLES) else 0.0
        return cls(
            mode,
            cluster_cidr_of(str(configuration.get("clusterCIDR") or "").split(",")),
            masquerade_bit=MASQUERADE_BIT if bit is None else int(bit),
            masquerade_all=bool(masquerade.get("masqueradeAll")),
            detect_local_mode=str(configuration.get("detectLocalMode") or CLUSTER_CIDR),
            bridge_interface=str(local.get("bridgeInterface") or ""),
            interface_name_prefix=str(local.get("interfaceNamePrefix") or ""),
            sync_period=duration_seconds(of_mode.get("syncPeriod")) or SYNC_PERIOD_SECONDS,
            min_sync_period=duration_seconds(of_mode.get("minSyncPeriod")) or default_min,
            node_port_addresses=tuple(map(str, configuration.get("nodePortAddresses") or ())),
            localhost_node_ports=localhost is None or bool(localhost),
            feature_gates=dict(configuration.get("featureGates") or {}),
            bind_address=_address(str(configuration.get("bindAddress") or "")),
            source=source,
        )

    def local_traffic(self, family: Family) -> LocalTraffic | None:
        """Return what kube-proxy knows the traffic of pods by in one IP family; None when it does not know it.

        It then has no rules that depend on that (cmd/kube-proxy/app/server_linux.go, getLocalDetectors).
        """
        if self.detect_local_mode == BRIDGE_INTERFACE:
            return LocalTraffic(interface=self.bridge_interface)
        if self.detect_local_mode == INTERFACE_NAME_PREFIX:
            return LocalTraffic(interface=self.interface_name_prefix, is_prefix=True)
        ranges = self.pod_cidrs or () if self.detect_local_mode == NODE_CIDR else (self.cluster_cidr or "").split(",")
        of_family = (range_ for range_ in ranges if range_ and family_of_range(range_) == family)
        pod_range = next(of_family, None)
        return None if pod_range is None else LocalTraffic(pod_range)

    def node_ports(self, node: str, family: Family) -> NodePortAddresses | None:
        """Return the addresses of a node on which its kube-proxy answers node ports; None when they are not known."""
        default = (PRIMARY,) if self.mode == NFTABLES else ()
        texts = self.node_port_addresses or default
        return NodePortAddresses.of(texts, family, self.node_address(node, family))

    @property
    def allows_external_ips(self) -> bool:
        """Whether kube-proxy has rules for the externalIPs of Services (pkg/proxy/serviceport.go, ExternalIPs)."""
        return self.feature_gates.get(EXTERNAL_IPS, True)

    @property
    def expected_release(self) -> Release:
        """The release that rules are expected of: the newest one where kube-proxy's is not known."""
        return self.release or NEWEST_RELEASE

    @property
    def follows_node_hints(self) -> bool:
        """Whether kube-proxy follows hints for nodes, and not those for zones alone (pkg/proxy/topology.go)."""
        return self._has_gate(NODE_HINTS)

    def _has_gate(self, name: str) -> bool:
        """Return whether a feature gate of ``_STAGES`` is on in this release."""
        reached = [stage for stage, first in _STAGES[name].items() if self.expected_release >= first]
        if not reached or not reached[-1]:
            return bool(reached)
        return self.feature_gates.get(name, self.feature_gates.get(reached[-1], reached[-1] == "AllBeta"))

    @property
    def refuses_localhost_node_ports(self) -> bool:
        """Whether kube-proxy in nftables mode refuses node ports on loopback addresses that it does not serve.

        It serves those of TCP where nodePortAddresses names loopback addresses, by a listener of its own.
        """
        return self.mode == NFTABLES and self._has_gate(LOCALHOST_NODE_PORTS)

    @property
    def serves_localhost_node_ports(self) -> bool:
        """Whether a client on the node reaches IPv4 node ports at 127.0.0.1."""
        if self.mode == NFTABLES:
            return self.refuses_localhost_node_ports and names_loopback(self.node_port_addresses)
        # Which address a node has does not matter here: it is no loopback address.
        addresses = NodePortAddresses.of(self.node_port_addresses, "IPv4", "192.0.2.1")
        return self.localhost_node_ports and addresses is not None and addresses.answers_on_loopback

    def node_address(self, node: str, family: Family) -> str | None:
        """Return the address that kube-proxy takes for its node's in a family; None when it is not known.

        It is its bindAddress, else the first of the Node's addresses, and a loopback address where it has none of the
        family (cmd/kube-proxy/app/server.go, detectNodeIPs).
        """
        if self.bind_address and family_of(self.bind_address) == family:
            return self.bind_address
        if node not in self.node_addresses:
            return None
        loopback = "::1" if family == "IPv6" else "127.0.0.1"
        return next((address for address in self.node_addresses[node] if family_of(address) == family), loopback)

    @property
    def not_judged(self) -> str:
        """Why a node with these settings cannot be judged by its rules; empty when the expected rules are known."""
        if self.mode == NO_KUBE_PROXY:
            return f"the cluster has no kube-proxy ({self.source}): claims about its rules cannot be judged here"
        if self.mode == UNKNOWN:
            return f"the mode of kube-proxy is not known ({self.source})"
        if self.detect_local_mode not in LOCAL_MODES:
            known = (
                "not known" if self.detect_local_mode == UNKNOWN else f"{self.detect_local_mode}, which is not known"
            )
            return f"kube-proxy's detectLocalMode is {known} ({self.source})"
        if self.detect_local_mode == NODE_CIDR and self.pod_cidrs is None:
            return "kube-proxy runs with detectLocalMode NodeCIDR, and the pod CIDRs of its Node cannot be read"
        return ""


@dataclass(frozen=True)
class ProxyConfigs:
    """The settings of a cluster's kube-proxies, by node.

    ``default`` are those of every node that ``by_node`` does not have; None when all are known one by one.
    ``unreadable`` says why the rules of nodes cannot be read, whatever the settings are; empty when they can.
    """

    by_node: Mapping[str, ProxyConfig] = field(default_factory=dict)
    default: ProxyConfig | None = None
    unreadable: str = ""

    @classmethod
    def same(cls, config: ProxyConfig, nodes: Iterable[str]) -> Self:
        """Return the settings of nodes that share them."""
        return cls(dict.fromkeys(nodes, config))

    def of(self, node: str) -> ProxyConfig:
        """Return the settings of a node's kube-proxy; raises ClusterError when they are not known."""
        config = self.by_node.get(node, self.default)
        if config is None:
            raise ClusterError(
                f"{node}: the settings of its kube-proxy are not known",
                next_step=f"the settings are known of {', '.join(self.by_node) or 'no node'}",
            )
        return config

    def of_any(self, node: str) -> ProxyConfig:
        """Return the settings of a node's kube-proxy, and the defaults of one whose settings are not known."""
        return self.by_node.get(node, self.default) or ProxyConfig(UNKNOWN, None)

    def with_zones(self, zones: Mapping[str, str]) -> Self:
        """Return the same settings with the zones of the nodes."""
        return self._with(lambda config: replace(config, zones=zones))

    def with_nodes(self, nodes: Iterable[Mapping[str, Any]]) -> Self:
        """Return the same settings with what the Node objects say: addresses, zones, and each node's pod CIDRs.

        A kube-proxy whose release is not known is taken to have that of its node's kubelet, and where kube-proxies are
        not known one by one they are taken to have the oldest.
        """
        objects = {node["metadata"]["name"]: node for node in nodes}
        zones = {name: (node["metadata"].get("labels") or {}).get(ZONE_LABEL, "") for name, node in objects.items()}
        addresses = {name: _addresses(node) for name, node in objects.items()}
        known = self._with(lambda config: replace(config, node_addresses=addresses, zones=zones))
        by_node = {
            name: replace(
                config, pod_cidrs=_pod_cidrs(objects[name]), release=config.release or _kubelet_release(objects[name])
            )
            if name in objects
            else config
            for name, config in known.by_node.items()
        }
        kubelets = [release for release in map(_kubelet_release, objects.values()) if release]
        default = known.default and replace(known.default, release=known.default.release or min(kubelets, default=None))
        return replace(known, by_node=by_node, default=default)

    def releases(self, nodes: Iterable[Mapping[str, Any]]) -> frozenset[Release]:
        """Return the releases of kube-proxies, as far as they are known: of those that did not say it, their kubelets'.

        ``nodes`` are the Node objects; of kube-proxies on others those count that said their release.
        """
        said = {name: config.release for name, config in self.by_node.items()}
        kubelets = {node["metadata"]["name"]: _kubelet_release(node) for node in nodes}
        found = (said.get(name) or kubelets.get(name) for name in said | kubelets)
        return frozenset(filter(None, found))

    def _with(self, change: Callable[[ProxyConfig], ProxyConfig]) -> Self:
        by_node = {node: change(config) for node, config in self.by_node.items()}
        return replace(self, by_node=by_node, default=self.default and change(self.default))

    def alike(self, nodes: Iterable[str], family: Family) -> tuple[tuple[str, ...], ...]:
        """Return nodes in groups whose rules for a Service have to be the same under Cluster policies."""
        groups: dict[Hashable, list[str]] = defaultdict(list)
        for node in nodes:
            config = self.of(node)
            local = config.local_traffic(family)
            settings = (config.masquerade_bit, config.masquerade_all, local, config.allows_external_ips)
            groups[(*settings, config.expected_release)].append(node)
        return tuple(tuple(group) for group in groups.values())

    @property
    def distinct(self) -> tuple[ProxyConfig, ...]:
        """The settings, each once."""
        return tuple(dict.fromkeys(filter(None, (*self.by_node.values(), self.default))))

    @property
    def oldest_release(self) -> Release:
        """The oldest release of a kube-proxy, as far as they are known; the newest that was read where none is."""
        return min((config.expected_release for config in self.distinct), default=NEWEST_RELEASE)

    @property
    def mode(self) -> str:
        """The proxy mode in which nodes are judged; ``UNKNOWN`` when that cannot be said.

        Where nodes differ it is that of most of those whose rules can be judged, and of the first of them in a tie.
        """
        judged = [config.mode for config in self.by_node.values() if not config.not_judged]
        modes = [mode for mode in judged if mode in (IPTABLES, NFTABLES)] or judged
        if modes:
            return max(dict.fromkeys(modes), key=modes.count)
        others = {config.mode for config in self.distinct}
        return others.pop() if len(others) == 1 else UNKNOWN

    @property
    def not_judged_nodes(self) -> dict[str, str]:
        """The nodes that claims about nodes leave out, each with the reason."""
        mode = self.mode
        other = "its kube-proxy runs in {} mode, and claims about nodes are judged in {} mode"
        return {
            node: config.not_judged or other.format(config.mode, mode)
            for node, config in self.by_node.items()
            if config.not_judged or config.mode != mode
        }

    @property
    def without_external_ips(self) -> tuple[str, ...]:
        """The nodes whose kube-proxies have no rules for externalIPs."""
        return tuple(node for node, config in self.by_node.items() if not config.allows_external_ips)

    @property
    def min_sync_period(self) -> float:
        """The longest minSyncPeriod of a node, in seconds: how long kube-proxy may put off a sync."""
        return max((config.min_sync_period for config in self.distinct), default=0.0)

    @property
    def not_judged(self) -> str:
        """Why no claim about nodes can be judged; empty when those about this mode can, on some node at least."""
        if self.unreadable:
            return self.unreadable
        if not self.by_node:
            return self.default.not_judged if self.default else ""
        if len(self.not_judged_nodes) < len(self.by_node):
            return ""
        reasons = self._by_reason()
        return next(iter(reasons)) if len(reasons) == 1 else _named(reasons)

    @property
    def left_out(self) -> str:
        """The nodes that claims about nodes leave out, with the reasons; empty when they leave out none, or all."""
        return "" if self.not_judged else _named(self._by_reason())

    def _by_reason(self) -> dict[str, list[str]]:
        nodes: dict[str, list[str]] = defaultdict(list)
        for node, reason in self.not_judged_nodes.items():
            nodes[reason].append(node)
        return nodes

    def facts(self) -> dict[str, str]:
        """Return the settings in words by name, for display only; a setting that all nodes leave alone is left out."""
        shown = {
            "proxy mode": self.mode,
            "proxy read from": _joined(self._by_node(lambda config: config.source)),
            "releases of kube-proxy": self._differing_releases(),
            "cluster CIDR": self._shown(lambda config: config.cluster_cidr or "none"),
            "masquerade bit": self._shown(lambda config: str(config.masquerade_bit)),
            "detectLocalMode": self._shown(_detect_local_mode, CLUSTER_CIDR),
            "masqueradeAll": self._shown(lambda config: "yes" if config.masquerade_all else "no", "no"),
            "syncPeriod": self._shown(lambda config: f"{config.sync_period:g} s", f"{SYNC_PERIOD_SECONDS:g} s"),
            "minSyncPeriod": self._shown(
                lambda config: f"{config.min_sync_period:g} s", f"{MIN_SYNC_PERIOD_SECONDS:g} s"
            ),
            "nodePortAddresses": self._shown(lambda config: ", ".join(config.node_port_addresses)),
            "localhostNodePorts": self._shown(lambda config: "yes" if config.localhost_node_ports else "no", "yes"),
            "rules not judged": self.not_judged or self.left_out,
        }
        return {name: value for name, value in shown.items() if value}

    def __str__(self) -> str:
        if self.mode in (UNKNOWN, NO_KUBE_PROXY):
            return f"kube-proxy: {self.mode} ({_joined(self._by_node(_mode_and_source))})"
        facts = self.facts()
        shown = (
            *("cluster CIDR", "masquerade bit", "detectLocalMode", "masqueradeAll", "syncPeriod", "minSyncPeriod"),
            "releases of kube-proxy",
        )
        settings = "".join(f", {name} {facts[name]}" for name in shown if name in facts)
        return f"kube-proxy: {self.mode} mode{settings}, read from {facts['proxy read from']}"

    def _differing_releases(self) -> str:
        """Return the releases that rules are expected of, with their nodes; empty where all are the same."""
        releases = self._by_node(lambda config: ".".join(map(str, config.release or ("not known",))))
        return _joined(releases) if len(releases) > 1 else ""

    def _shown(self, value: Callable[[ProxyConfig], str], left_alone: str = "") -> str:
        """Return a setting in words, with the nodes that have it where they differ; empty when all leave it alone."""
        values = self._by_node(value)
        return "" if set(values) <= {left_alone} else _joined(values)

    def _by_node(self, value: Callable[[ProxyConfig], str]) -> dict[str, list[str]]:
        """Return the nodes by what a function returns for their settings; no names for the default."""
        nodes: dict[str, list[str]] = defaultdict(list)
        for node, config in self.by_node.items():
            nodes[value(config)].append(node)
        if self.default is not None:
            nodes.setdefault(value(self.default), [])
        return nodes


def cluster_cidr_of(ranges: Iterable[str]) -> str | None:
    """Return ranges with nothing but a comma between; None for none."""
    return ",".join(range_.strip() for range_ in ranges if range_.strip()) or None


def duration_seconds(duration: str | float | None) -> float:
    """Return a duration as Go writes it, ``1m30s``, in seconds; 0 for None. Raises ValueError when it is none."""
    text = "0s" if duration in (None, "", "0") else str(duration)
    parts = list(_DURATION.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise ValueError(f"{duration!r} is no duration")
    return sum(float(part["number"]) * _UNITS[part["unit"]] for part in parts)


def _address(text: str) -> str:
    """Return the address that kube-proxy binds to; empty for all of them, and for text that is no address."""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return "" if parsed.is_unspecified else str(parsed)


def _addresses(node: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the addresses of a Node in the order in which kube-proxy looks at them (pkg/util/node, GetNodeHostIPs)."""
    listed_addresses = (node.get("status") or {}).get("addresses") or ()
    kinds = ("InternalIP", "ExternalIP")
    addresses = (item["address"] for kind in kinds for item in listed_addresses if item["type"] == kind)
    return tuple(readable(canonical_address, addresses))


def _pod_cidrs(node: Mapping[str, Any]) -> tuple[str, ...]:
    spec = node.get("spec") or {}
    return tuple(spec.get("podCIDRs") or filter(None, (spec.get("podCIDR"),)))


def _kubelet_release(node: Mapping[str, Any]) -> Release | None:
    """Return the release of a node's kubelet; None for a Node that does not say it."""
    return known_release(((node.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion") or "")


def _detect_local_mode(config: ProxyConfig) -> str:
    interfaces = {
        BRIDGE_INTERFACE: f" {config.bridge_interface}",
        INTERFACE_NAME_PREFIX: f" {config.interface_name_prefix}",
    }
    return config.detect_local_mode + interfaces.get(config.detect_local_mode, "")


def _named(nodes: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{listed(names)}: {reason}" for reason, names in nodes.items())


def _mode_and_source(config: ProxyConfig) -> str:
    return config.source if config.mode in (UNKNOWN, NO_KUBE_PROXY) else f"{config.mode} mode"


def _joined(values: Mapping[str, list[str]]) -> str:
    return "; ".join(_on(value, nodes, all_of=values) for value, nodes in values.items() if value)


def _on(value: str, nodes: list[str], *, all_of: Mapping[str, object]) -> str:
    """Return a value with the nodes that have it; the value alone when all nodes have the same."""
    return f"{value} on {listed(nodes)}" if nodes and len(all_of) > 1 else value
