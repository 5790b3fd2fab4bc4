"""The settings of kube-proxy that a user gives an embedded cluster: a KubeProxyConfiguration, merged over the suite's.

Source of the names: KubeProxyConfiguration (k8s.io/kube-proxy/config/v1alpha1/types.go). kube-proxy overlooks a name
that it does not know, so names are checked here.
"""

from __future__ import annotations

import ipaddress
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

from session_affinity.dataplane.local_traffic import (
    ALL,
    BRIDGE_INTERFACE,
    INTERFACE_NAME_PREFIX,
    LOCAL_MODES,
    LOCALHOST,
    PRIMARY,
)
from session_affinity.dataplane.proxy_config import (
    IPTABLES,
    NFTABLES,
    SYNC_PERIOD_SECONDS,
    ProxyConfig,
    duration_seconds,
)
from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Settings = dict[str, Any]

NODES: Final = "nodes"
"""The key of a file that has settings of single nodes, by name; the cluster's name and a hyphen may be left out."""
_MODES: Final = (IPTABLES, NFTABLES)
_BY_MODE: Final = frozenset({"masqueradeBit", "masqueradeAll", "syncPeriod", "minSyncPeriod"})
_SECTIONS: Final[Mapping[str, frozenset[str]]] = {
    "iptables": _BY_MODE | {"localhostNodePorts"},
    "nftables": _BY_MODE,
    "detectLocal": frozenset({"bridgeInterface", "interfaceNamePrefix"}),
    "conntrack": frozenset(
        {"maxPerCore", "min", "tcpEstablishedTimeout", "tcpCloseWaitTimeout", "tcpBeLiberal", "udpTimeout",
         "udpStreamTimeout"}
    ),
}  # fmt: skip
_NAMES: Final = frozenset(
    {"apiVersion", "kind", "mode", "featureGates", "logging", "enableProfiling", "showHiddenMetricsForVersion",
     "detectLocalMode", "clusterCIDR", "nodePortAddresses", "oomScoreAdj", "configSyncPeriod", *_SECTIONS}
)  # fmt: skip
_OF_THE_CLUSTER: Final = frozenset(
    {"clientConnection", "hostnameOverride", "bindAddress", "bindAddressHardFail", "healthzBindAddress",
     "metricsBindAddress"}
)  # fmt: skip
"""Settings by which the embedded cluster and the suite find kube-proxy."""
_MOST_MASQUERADE_BIT: Final = 31


def read(file: Path, cluster: str, nodes: Iterable[str], mode: str) -> dict[str, tuple[Settings, ...]]:
    """Return the settings in a file by node, to be merged one after the other: those of all nodes, then its own.

    The file has a KubeProxyConfiguration; with ``nodes``, a mapping from nodes to such configurations, beside it.
    Raises UsageError naming the file, the node and the setting for what kube-proxy would refuse or overlook.
    """
    # Imported here because importing YAML takes time, and few runs need it.
    import yaml

    where = f"--proxy-config {file}"
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{where}: {error}", next_step="give a YAML file with a KubeProxyConfiguration") from error
    of_all = _mapping(content, where)
    of_single = _mapping(of_all.pop(NODES, None) or {}, f"{where}: {NODES}")
    names = {short: node for node in nodes for short in (node, node.removeprefix(f"{cluster}-"))}
    if unknown := [str(name) for name in of_single if name not in names]:
        raise UsageError(
            f"{where}: {NODES}: the cluster has no node {', '.join(unknown)}",
            next_step=f"its nodes are {', '.join(dict.fromkeys(names.values()))}",
        )
    _check(of_all, where, mode, may_differ=False)
    settings: dict[str, tuple[Settings, ...]] = dict.fromkeys(names.values(), (of_all,))
    for name, of_node in of_single.items():
        there = f"{where}: {NODES}: {name}"
        _check(_mapping(of_node, there), there, mode, may_differ=True)
        settings[names[name]] += (of_node,)
    for node, parts in settings.items():
        _check_values(reduce(merged, parts, {"mode": mode}), f"{where}: {node}")
    return settings


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> Settings:
    """Return settings with changes, section by section; a value of null removes a setting (RFC 7396)."""
    result = dict(settings)
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            present = result.get(name)
            result[name] = merged(present if isinstance(present, dict) else {}, value)
        else:
            result[name] = value
    return result


def with_long_sync_periods(settings: Mapping[str, Any]) -> Settings:
    """Return settings with every syncPeriod at least as long as its minSyncPeriod, as kube-proxy requires.

    A file may change the one, and need not know what the cluster has for the other.
    """
    result = dict(settings)
    for mode in _MODES:
        of_mode = settings.get(mode) or {}
        shortest, longest = of_mode.get("minSyncPeriod"), of_mode.get("syncPeriod")
        if duration_seconds(shortest) > (duration_seconds(longest) or SYNC_PERIOD_SECONDS):
            result[mode] = {**of_mode, "syncPeriod": shortest}
    return result


def _mapping(content: object, where: str) -> Settings:
    if not isinstance(content, dict):
        raise UsageError(f"{where}: not a mapping of settings", next_step="see docs/clusters.md for an example")
    return dict(content)


def _check(settings: Mapping[str, Any], where: str, mode: str, *, may_differ: bool) -> None:
    """Raise UsageError for a setting that kube-proxy does not know, or that the cluster needs as it is."""
    if settings.get("kind") not in (None, "KubeProxyConfiguration"):
        raise UsageError(f"{where}: kind {settings['kind']}", next_step="give a KubeProxyConfiguration")
    for name, value in settings.items():
        if name in _OF_THE_CLUSTER:
            raise UsageError(
                f"{where}: {name} is the embedded cluster's own", next_step=f"leave {name} out of the file"
            )
        if name not in _NAMES:
            raise UsageError(
                f"{where}: {name} is no setting of kube-proxy", next_step=f"it has {', '.join(sorted(_NAMES))}"
            )
        if name in _SECTIONS and value is not None:
            unknown = sorted(map(str, set(_mapping(value, f"{where}: {name}")) - _SECTIONS[name]))
            if unknown:
                raise UsageError(
                    f"{where}: {name} has no {', '.join(unknown)}",
                    next_step=f"it has {', '.join(sorted(_SECTIONS[name]))}",
                )
    of_file = settings.get("mode") or mode
    if of_file not in _MODES or (of_file != mode and not may_differ):
        raise UsageError(
            f"{where}: mode {of_file}, and --proxy-mode is {mode}",
            next_step=f"give --proxy-mode, and leave mode out; a node below {NODES} may have another of"
            f" {', '.join(_MODES)}",
        )


def _check_values(settings: Mapping[str, Any], where: str) -> None:
    """Raise UsageError for a value that kube-proxy does not take."""
    try:
        config = ProxyConfig.from_configuration(settings)
        for text in config.node_port_addresses:
            if text not in (PRIMARY, LOCALHOST, ALL):
                ipaddress.ip_network(text)
        for range_ in filter(None, (config.cluster_cidr or "").split(",")):
            ipaddress.ip_network(range_)
    except ValueError as error:
        raise UsageError(f"{where}: {error}", next_step="correct the value") from error
    local = config.detect_local_mode
    problems = {
        f"detectLocalMode {local} is none of {', '.join(LOCAL_MODES)}": local not in LOCAL_MODES,
        f"detectLocalMode {local} needs detectLocal.bridgeInterface": local == BRIDGE_INTERFACE
        and not config.bridge_interface,
        f"detectLocalMode {local} needs detectLocal.interfaceNamePrefix": local == INTERFACE_NAME_PREFIX
        and not config.interface_name_prefix,
        f"masqueradeBit {config.masquerade_bit} is not in 0 to {_MOST_MASQUERADE_BIT}": not 0
        <= config.masquerade_bit
        <= _MOST_MASQUERADE_BIT,
        f"minSyncPeriod {config.min_sync_period:g} s is longer than syncPeriod {config.sync_period:g} s": (
            config.min_sync_period > config.sync_period
        ),
    }
    for problem, is_there in problems.items():
        if is_there:
            raise UsageError(f"{where}: {problem}", next_step="kube-proxy would not start: correct the file")
