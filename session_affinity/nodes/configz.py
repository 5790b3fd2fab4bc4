"""Parse kube-proxy's ``/configz`` page into the field names of its API, KubeProxyConfiguration.

Up to 1.33 the page has the fields of the internal type instead (pkg/proxy/apis/config/types.go): their names begin with
capital letters, and what all modes share stands beside the sections of the modes, not in them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMPONENT: Final = "kubeproxy.config.k8s.io"
_MODES: Final = {"iptables": "IPTables", "nftables": "NFTables", "ipvs": "IPVS"}
_OF_MODE: Final = {
    "MasqueradeBit": "masqueradeBit",
    "MasqueradeAll": "masqueradeAll",
    "SyncPeriod": "syncPeriod",
    "MinSyncPeriod": "minSyncPeriod",
    "LocalhostNodePorts": "localhostNodePorts",
}
_LOCAL: Final = {"BridgeInterface": "bridgeInterface", "InterfaceNamePrefix": "interfaceNamePrefix"}


def parse(page: str) -> dict[str, Any]:
    """Return the KubeProxyConfiguration of a page; raises ValueError when it has none."""
    try:
        configuration = json.loads(page)[_COMPONENT]
    except (KeyError, TypeError) as error:
        raise ValueError(f"the page has no {_COMPONENT}") from error
    if not isinstance(configuration, dict):
        raise ValueError(f"{_COMPONENT} is no object")  # noqa: TRY004 - the text is wrong, not its type
    return _from_internal(configuration) if "Mode" in configuration else configuration


def _from_internal(configuration: Mapping[str, Any]) -> dict[str, Any]:
    local = configuration.get("DetectLocal") or {}
    return {
        "mode": configuration["Mode"],
        "clusterCIDR": configuration.get("ClusterCIDR") or ",".join(local.get("ClusterCIDRs") or ()),
        "detectLocalMode": configuration.get("DetectLocalMode"),
        "detectLocal": _renamed(local, _LOCAL),
        "nodePortAddresses": configuration.get("NodePortAddresses"),
        "featureGates": configuration.get("FeatureGates"),
        **{mode: _section(configuration.get(name) or {}, configuration) for mode, name in _MODES.items()},
    }


def _section(section: Mapping[str, Any], configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section of a mode, with what stands beside it in the internal type."""
    return _renamed({**configuration, **(configuration.get("Linux") or {}), **section}, _OF_MODE)


def _renamed(section: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {ours: section[theirs] for theirs, ours in names.items() if theirs in section}
