"""The rules of KUBE-SERVICES that lead to KUBE-NODEPORTS: for every address of the node, or for some of them.

Source: kube-proxy's pkg/proxy/iptables/proxier.go (syncProxyRules), unchanged in this part from 1.33 to 1.37.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.differences import Aspect, Difference
from session_affinity.dataplane.iptables.expected import FULL_LENGTH, NODE_PORTS_CHAIN, SERVICES_CHAIN
from session_affinity.dataplane.local_traffic import LOOPBACK, is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from session_affinity.dataplane.iptables.save import Rule
    from session_affinity.dataplane.model import Family
    from session_affinity.dataplane.proxy_config import ProxyConfig

_TO_NODE_PORTS: Final = f"-j {NODE_PORTS_CHAIN}"
_LOCALHOST: Final = "127.0.0.1"


def expected_texts(node: str, family: Family, proxy: ProxyConfig) -> tuple[str, ...] | None:
    """Return the rules that lead to KUBE-NODEPORTS as iptables-save prints them; None when they are not known.

    Where nodePortAddresses has ranges, they are the rules for 127.0.0.1 and the address in the Node's status; the node
    may have more addresses in those ranges.
    """
    addresses = proxy.node_ports(node, family)
    if addresses is None:
        return None
    if addresses.is_any:
        # kube-proxy answers no node port at ::1: the kernel cannot forward packets that come from there.
        serves_loopback = family == "IPv4" and proxy.serves_localhost_node_ports
        not_loopback = "" if serves_loopback else f"! -d {LOOPBACK[family]} "
        return (f"{not_loopback}-m addrtype --dst-type LOCAL {_TO_NODE_PORTS}",)
    of_node = proxy.node_address(node, family)
    known = [of_node] if of_node and addresses.include(of_node) and not is_loopback(of_node) else []
    if family == "IPv4" and proxy.serves_localhost_node_ports and addresses.include(_LOCALHOST):
        known.append(_LOCALHOST)
    return tuple(f"-d {address}/{FULL_LENGTH[family]} {_TO_NODE_PORTS}" for address in known)


def differences(
    node: str, family: Family, proxy: ProxyConfig, seen: Sequence[Rule], reason: str
) -> Iterator[Difference]:
    """Yield the differences of the rules that lead to KUBE-NODEPORTS; ``seen`` are those that the node has."""
    wanted = expected_texts(node, family, proxy)
    if wanted is None:
        if not seen:
            yield _missing(node, f"a rule with target {NODE_PORTS_CHAIN}", reason)
        return
    texts = {rule.spec for rule in seen}
    yield from (_missing(node, text, reason) for text in wanted if text not in texts)
    for rule in seen:
        if rule.spec not in wanted and not _is_of_another_address(rule, family, proxy, node):
            yield Difference(node, SERVICES_CHAIN, rule.number, Aspect.EXTERNAL, _in_words(wanted), rule.spec, reason)


def _missing(node: str, wanted: str, reason: str) -> Difference:
    return Difference(node, SERVICES_CHAIN, None, Aspect.EXTERNAL, wanted, "no such rule", reason)


def _in_words(wanted: Iterable[str]) -> str:
    return ", ".join(wanted) or "no such rule"


def _is_of_another_address(rule: Rule, family: Family, proxy: ProxyConfig, node: str) -> bool:
    """Whether a rule is for an address that the node may have beside that of its status, in nodePortAddresses."""
    addresses = proxy.node_ports(node, family)
    destination = rule.option("-d")
    if addresses is None or addresses.is_any or destination is None or destination.negated:
        return False
    try:
        network = ipaddress.ip_network(destination.value)
    except ValueError:
        return False
    address = str(network.network_address)
    if is_loopback(address) and not (family == "IPv4" and proxy.serves_localhost_node_ports):
        return False
    is_plain = rule.spec == f"-d {address}/{FULL_LENGTH[family]} {_TO_NODE_PORTS}"
    return is_plain and network.num_addresses == 1 and addresses.include(address)
