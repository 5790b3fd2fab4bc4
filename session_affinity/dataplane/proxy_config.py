"""The settings of kube-proxy that rules, deadlines and claims depend on, node by node.

Source of names, defaults and meanings: KubeProxyConfiguration (k8s.io/kube-proxy/config/v1alpha1/types.go,
pkg/proxy/apis/config/v1alpha1/defaults.go).
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

from session_affinity.dataplane.model import family_of, family_of_range
from session_affinity.errors import ClusterError
from session_affinity.text import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from session_affinity.dataplane.model import Family

IPTABLES: Final = "iptables"
NFTABLES: Final = "nftables"
UNKNOWN: Final = "unknown"
"""The mode of a kube-proxy that could not be discovered, and the detectLocalMode of one whose rules do not show it."""
NO_KUBE_PROXY: Final = "none"
"""The mode where there is no kube-proxy."""
CLUSTER_CIDR: Final = "ClusterCIDR"
"""The default of detectLocalMode (cmd/kube-proxy/app/server_linux.go, getLocalDetectors)."""

MASQUERADE_BIT: Final = 14
SYNC_PERIOD_SECONDS: Final = 30.0
MIN_SYNC_PERIOD_SECONDS: Final = 1.0
"""The defaults; kube-proxy takes a minSyncPeriod of 0 for one that is left out."""

_DURATION: Final = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)(?P<unit>ns|us|µs|ms|h|m|s)")
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class ProxyConfig:
    """The settings of one node's kube-proxy.

    ``mode`` is kube-proxy's, or ``UNKNOWN`` or ``NO_KUBE_PROXY``. ``cluster_cidr`` is the range of the pods, or those
    of two families with a comma between; None when kube-proxy has none: it then adds no masquerade rule for the cluster
    IP. ``sync_period`` and ``min_sync_period`` are in seconds. An empty ``node_port_addresses`` is the mode's default:
    all addresses in iptables mode, the primary ones in nftables mode.

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
            source=source,
        )

    def pod_range(self, family: Family) -> str | None:
        """Return the range of ``cluster_cidr`` in one family; None when kube-proxy has none there."""
        ranges = (self.cluster_cidr or "").split(",")
        return next((range_ for range_ in ranges if range_ and family_of_range(range_) == family), None)

    def node_address(self, node: str, family: Family) -> str | None:
        """Return the address that kube-proxy takes for its node's in a family; None when it is not known.

        It is the first of the Node's addresses, and a loopback address where it has none of the family
        (cmd/kube-proxy/app/server.go, detectNodeIPs).
        """
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
        if self.detect_local_mode == UNKNOWN:
            return f"kube-proxy's detectLocalMode is not known ({self.source})"
        if self.detect_local_mode != CLUSTER_CIDR:
            mode = self.detect_local_mode
            return f"kube-proxy runs with detectLocalMode {mode}: the suite knows its rules for {CLUSTER_CIDR} only"
        if self.masquerade_all:
            return "kube-proxy runs with masqueradeAll: the suite does not know its rules for that"
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

    def with_zones(self, zones: Mapping[str, str]) -> Self:
        """Return the same settings with the zones of the nodes."""
        return self._with(lambda config: replace(config, zones=zones))

    def with_node_addresses(self, addresses: Mapping[str, tuple[str, ...]]) -> Self:
        """Return the same settings with the addresses of the nodes, by name."""
        return self._with(lambda config: replace(config, node_addresses=addresses))

    def _with(self, change: Callable[[ProxyConfig], ProxyConfig]) -> Self:
        by_node = {node: change(config) for node, config in self.by_node.items()}
        return replace(self, by_node=by_node, default=self.default and change(self.default))

    @property
    def distinct(self) -> tuple[ProxyConfig, ...]:
        """The settings, each once."""
        return tuple(dict.fromkeys(filter(None, (*self.by_node.values(), self.default))))

    @property
    def mode(self) -> str:
        """The proxy mode of all nodes; ``UNKNOWN`` when they differ in it."""
        modes = {config.mode for config in self.distinct}
        return modes.pop() if len(modes) == 1 else UNKNOWN

    @property
    def min_sync_period(self) -> float:
        """The longest minSyncPeriod of a node, in seconds: how long kube-proxy may put off a sync."""
        return max((config.min_sync_period for config in self.distinct), default=0.0)

    @property
    def not_judged(self) -> str:
        """Why claims about nodes cannot be judged, and on which nodes; empty when those about this mode can."""
        if self.unreadable:
            return self.unreadable
        reasons = self._by_node(lambda config: config.not_judged)
        if any(reasons):
            named = {f"{listed(nodes)}: {reason}" for reason, nodes in reasons.items() if reason}
            return "; ".join(sorted(named)) if len(reasons) > 1 else next(iter(reasons))
        modes = self._by_node(lambda config: config.mode)
        if len(modes) > 1:
            return f"kube-proxy runs in different modes: {_joined(modes)}: nodes are judged in one mode only"
        return ""

    def facts(self) -> dict[str, str]:
        """Return the settings in words by name, for display only; a setting that all nodes leave alone is left out."""
        shown = {
            "proxy mode": self.mode,
            "proxy read from": _joined(self._by_node(lambda config: config.source)),
            "cluster CIDR": self._shown(lambda config: config.cluster_cidr or "none"),
            "masquerade bit": self._shown(lambda config: str(config.masquerade_bit)),
            "detectLocalMode": self._shown(lambda config: config.detect_local_mode, CLUSTER_CIDR),
            "masqueradeAll": self._shown(lambda config: "yes" if config.masquerade_all else "no", "no"),
            "syncPeriod": self._shown(lambda config: f"{config.sync_period:g} s", f"{SYNC_PERIOD_SECONDS:g} s"),
            "minSyncPeriod": self._shown(
                lambda config: f"{config.min_sync_period:g} s", f"{MIN_SYNC_PERIOD_SECONDS:g} s"
            ),
            "nodePortAddresses": self._shown(lambda config: ", ".join(config.node_port_addresses)),
            "rules not judged": self.not_judged,
        }
        return {name: value for name, value in shown.items() if value}

    def __str__(self) -> str:
        if self.mode in (UNKNOWN, NO_KUBE_PROXY):
            return f"kube-proxy: {self.mode} ({_joined(self._by_node(_mode_and_source))})"
        facts = self.facts()
        shown = ("cluster CIDR", "masquerade bit", "detectLocalMode", "masqueradeAll", "syncPeriod", "minSyncPeriod")
        settings = "".join(f", {name} {facts[name]}" for name in shown if name in facts)
        return f"kube-proxy: {self.mode} mode{settings}, read from {facts['proxy read from']}"

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


def _mode_and_source(config: ProxyConfig) -> str:
    return config.source if config.mode in (UNKNOWN, NO_KUBE_PROXY) else f"{config.mode} mode"


def _joined(values: Mapping[str, list[str]]) -> str:
    return "; ".join(_on(value, nodes, all_of=values) for value, nodes in values.items() if value)


def _on(value: str, nodes: list[str], *, all_of: Mapping[str, object]) -> str:
    """Return a value with the nodes that have it; the value alone when all nodes have the same."""
    return f"{value} on {listed(nodes)}" if nodes and len(all_of) > 1 else value
