"""What kube-proxy tells of its own configuration at ``/configz``, in the names of its API, KubeProxyConfiguration.

Up to 1.33 it tells the names and places of its internal type (pkg/proxy/apis/config/types.go) instead: capital letters,
and what both modes share stands beside them, not in them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMPONENT: Final = "kubeproxy.config.k8s.io"
_MODES: Final = {"iptables": "IPTables", "nftables": "NFTables", "ipvs": "IPVS"}


def parse(told: str) -> dict[str, Any]:
    """Return the settings that ``/configz`` told, those of a mode below its name; raises ValueError when it is none."""
    try:
        settings = json.loads(told)[_COMPONENT]
    except (KeyError, TypeError) as error:
        raise ValueError(f"no {_COMPONENT} in it") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{_COMPONENT} is no object")  # noqa: TRY004 - of a text, this says that it cannot be read
    return _of_internal(settings) if "Mode" in settings else settings


def _of_internal(told: Mapping[str, Any]) -> dict[str, Any]:
    local = told.get("DetectLocal") or {}
    return {
        "mode": told["Mode"],
        "clusterCIDR": told.get("ClusterCIDR") or ",".join(local.get("ClusterCIDRs") or ()),
        "detectLocalMode": told.get("DetectLocalMode"),
        **{mode: _of_mode(told.get(name) or {}, told) for mode, name in _MODES.items()},
    }


def _of_mode(own: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    shared = {**told, **(told.get("Linux") or {}), **own}
    names = {"MasqueradeBit": "masqueradeBit", "MasqueradeAll": "masqueradeAll", "SyncPeriod": "syncPeriod"}
    return {ours: shared[theirs] for theirs, ours in names.items() if theirs in shared}
