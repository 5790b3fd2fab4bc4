"""The settings of kube-proxy with which clusters are healthy, and what cannot be judged with each of them, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MODES: Final = ("iptables", "nftables")


def of_mode(**settings: Any) -> dict[str, Any]:
    """Return settings for the section of either mode."""
    return dict.fromkeys(MODES, settings)


@dataclass(frozen=True)
class Setting:
    """A configuration that is merged over that of the kube-proxies of a cluster.

    ``skipped`` are the claims that cannot be judged because of it, each with what the reason says; ``noted`` is what
    the run says about its nodes. ``iptables`` is the variant of iptables on them where the mode is that, empty for the
    default one. On the node ``older`` runs a kube-proxy of an older release. ``modes`` are those of
    the clusters, ``localhost_modes`` those in which node ports are answered at localhost. ``fast`` settings are also
    tried in every run of the project's tests, with the claims that ``FAST_CLAIMS`` selects.
    """

    name: str
    configuration: Mapping[str, Any]
    skipped: Mapping[str, str] = field(default_factory=dict)
    noted: str = ""
    iptables: str = ""
    older: str = ""
    modes: tuple[str, ...] = MODES
    localhost_modes: tuple[str, ...] = ("iptables",)
    fast: bool = False

    def other(self, mode: str) -> str:
        """Return the mode that a cluster does not have."""
        return next(other for other in MODES if other != mode)


OF_OTHERS_CLUSTERS: Final = {
    **dict.fromkeys(("C32", "C32b", "C32d"), "no client outside the cluster was named"),
    "C47c": "the suite does not label the nodes of a cluster that it did not create",
}
"""The claims that are skipped on every cluster that the suite did not make, unless its user offers more."""
OF_ITS_OWN: Final = {"C20": "each node's kube-proxy has settings of its own"}
NOT_AT_LOCALHOST: Final = "by its settings kube-proxy on .* answers no node port at localhost"
"""Why C31c is skipped: in nftables mode by default, in iptables mode as localhostNodePorts or nodePortAddresses say."""
NO_EXTERNAL_IPS: Final = "kube-proxy overlooks externalIPs on .*: feature gate AllowServiceExternalIPs is off"

SETTINGS: Final = (
    Setting(
        "nodes that differ",
        {
            "nodes": {
                "control-plane": {"detectLocalMode": "BridgeInterface", "detectLocal": {"bridgeInterface": "cni0"}},
                "worker": {**of_mode(masqueradeAll=True, masqueradeBit=9), "nodePortAddresses": ["172.30.0.0/16"]},
                "worker2": {"detectLocalMode": "NodeCIDR", **of_mode(masqueradeBit=0)},
                "worker3": {
                    "detectLocalMode": "InterfaceNamePrefix",
                    "detectLocal": {"interfaceNamePrefix": "veth"},
                    **of_mode(minSyncPeriod="3s"),
                },
            }
        },
        OF_ITS_OWN,
        iptables="nft",
        fast=True,
    ),
    Setting(
        "masqueradeAll, a long minSyncPeriod, node ports at localhost, no external IPs",
        {
            **of_mode(masqueradeAll=True, masqueradeBit=31, minSyncPeriod="10s", syncPeriod="1m"),
            "nodePortAddresses": ["primary", "localhost"],
            "featureGates": {"KubeProxyNFTablesLocalhostNodePorts": True, "AllowServiceExternalIPs": False},
        },
        dict.fromkeys(("C66", "C66b"), NO_EXTERNAL_IPS),
        localhost_modes=MODES,
    ),
    Setting(
        "no cluster CIDR, node ports in a range, not at localhost",
        {
            "clusterCIDR": None,
            "nodePortAddresses": ["172.30.0.0/16", "192.0.2.0/24"],
            "iptables": {"localhostNodePorts": False},
        },
        localhost_modes=(),
    ),
    Setting("pods by node CIDR", {"detectLocalMode": "NodeCIDR"}, OF_ITS_OWN),
    Setting(
        "pods by the prefix of their interfaces",
        {"detectLocalMode": "InterfaceNamePrefix", "detectLocal": {"interfaceNamePrefix": "veth"}},
    ),
    Setting(
        "one node in the other mode",
        {"nodes": {"worker3": {"mode": "the other"}}},
        dict.fromkeys(("C46b", "C46d"), "the client's node .* has an endpoint"),
        noted="-worker3: its kube-proxy runs in {other} mode, and claims about nodes are judged in {mode} mode",
    ),
    Setting("an upgrade that one node has not had", {}, noted="; {older} on settings-worker3", older="worker3"),
)
FAST_CLAIMS: Final = "rules or lists or paths"
