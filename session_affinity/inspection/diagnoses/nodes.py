"""What programs the nodes, and whether they have the rules that kube-proxy should have written."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.backends import BACKENDS
from session_affinity.dataplane.differences import Aspect
from session_affinity.dataplane.proxy_config import IPVS, NFTABLES, NO_KUBE_PROXY, UNKNOWN
from session_affinity.inspection.diagnosis import Diagnosis, Severity
from session_affinity.inspection.observation import RulesState
from session_affinity.text import first_lines, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from session_affinity.inspection.observation import Observation

NEARLY_FULL: Final = 0.8
"""The part of a store's capacity from which on it is nearly full."""
CLAIMS_OF_ASPECT: Final = {
    Aspect.CHAIN_NAMES: ("C14",),
    Aspect.ENTRY: ("C51",),
    Aspect.EXTERNAL: ("C65", "C66b", "C67b"),
    Aspect.MASQUERADE: ("C51",),
    Aspect.AFFINITY_PRESENCE: ("C15",),
    Aspect.AFFINITY_ORDER: ("C15",),
    Aspect.AFFINITY_ARGUMENTS: ("C16", "C16n"),
    Aspect.BALANCING: ("C17",),
    Aspect.PROBABILITY: ("C17",),
    Aspect.TRANSLATION: ("C18", "C18n"),
    Aspect.AFFINITY_STORE: ("C16n",),
    Aspect.REFUSAL: ("C51",),
    Aspect.FIREWALL: ("C67b",),
    Aspect.HEALTH_CHECK: ("C67b",),
    Aspect.FORWARDING: ("C51",),
    Aspect.LEFTOVER: ("C19", "C14"),
    Aspect.UNEXPECTED_RULE: ("C14",),
}
"""The claims about each aspect of a Service's rules."""


def rules_differ(observation: Observation) -> Iterator[Diagnosis]:
    """Yield that nodes do not have the expected rules."""
    nodes = [node for node in observation.nodes if node.rules is RulesState.DIFFER]
    if not nodes:
        return
    modes = {node.mode for node in nodes}
    aspects = dict.fromkeys(difference.aspect for node in nodes for difference in node.differences)
    claims = dict.fromkeys(claim for aspect in aspects for claim in CLAIMS_OF_ASPECT.get(aspect, ()))
    yield Diagnosis(
        "rules-differ",
        Severity.BROKEN,
        f"The rules differ from the expected ones on {len(nodes)} of {len(observation.nodes)} nodes:"
        f" {listed([node.node for node in nodes])}.",
        "see the log of kube-proxy on these nodes, and which other programs write rules there; a restart of kube-proxy"
        " writes them again",
        tuple(claim for claim in claims if _judged_in(claim, modes)),
        tuple(first_lines([str(difference) for node in nodes for difference in node.differences])),
    )


def failing_syncs(observation: Observation) -> Iterator[Diagnosis]:
    """Yield that a kube-proxy cannot write its rules, which then stay as they are."""
    failed = {node.node: node.failed_syncs for node in observation.nodes if node.failed_syncs}
    if not failed:
        return
    next_step = "see the log of kube-proxy on these nodes: it has the message of the program that writes the rules"
    if any(node.mode == NFTABLES for node in observation.nodes if node.node in failed):
        next_step += (
            "; an nft that is older than the one that wrote other sets on the node may crash on them"
            " (kubernetes/kubernetes#136786): use a kube-proxy image with nft 1.0.6.1 or newer"
        )
    yield Diagnosis(
        "syncs-fail",
        Severity.BROKEN,
        f"Syncs of kube-proxy failed on {listed(list(failed))}: {', '.join(f'{count}' for count in failed.values())}"
        " since it started. While they fail, changes do not arrive.",
        next_step,
        ("C41b",),
    )


def other_dataplane(observation: Observation) -> Iterator[Diagnosis]:
    """Yield that nodes are not programmed by a kube-proxy whose rules are known."""
    nodes_of_mode: dict[str, list[str]] = defaultdict(list)
    for node in observation.nodes:
        nodes_of_mode[node.mode].append(node.node)
    for mode in observation.modes:
        nodes_of_mode.setdefault(mode, [])
    for mode, nodes in nodes_of_mode.items():
        if mode in BACKENDS or (mode == UNKNOWN and not nodes):
            continue
        where = f" on {listed(nodes)}" if nodes and len(nodes_of_mode) > 1 else ""
        if mode == IPVS:
            what = f"kube-proxy runs in ipvs mode{where}: it binds clients per address and port in the kernel's IPVS."
            next_step = (
                "look at `ipvsadm -Lnc` on a node; timeouts below about two minutes are not exact; the mode is"
                " deprecated since 1.35"
            )
        elif mode == NO_KUBE_PROXY:
            what = (
                f"No kube-proxy was found{where} ({observation.mode_source}): affinity depends on the dataplane there."
            )
            next_step = (
                "see whether it supports ClientIP and has it switched on, and run `session-affinity check C10 C12 C23"
                " C24`, which judges any dataplane"
            )
        else:
            reason = f" ({observation.mode_source})" if observation.mode_source else ""
            name = "is not known" if mode == UNKNOWN else f"is {mode}"
            what = f"The mode of kube-proxy {name}{where}{reason}: its rules cannot be judged."
            next_step = "use --node-access agent, or run `session-affinity check C10 C12`, which judges any dataplane"
        yield Diagnosis("other-dataplane", Severity.POSSIBLE, what, next_step, ("C10", "C12", "C24"))


def full_stores(observation: Observation) -> Iterator[Diagnosis]:
    """Yield which recent lists and sets have no room for more clients, or little."""
    stores = [store for node in observation.nodes for store in node.stores if store.capacity]
    shares = {store: store.live / (store.capacity or 1) for store in stores}
    full = [store for store in stores if shares[store] >= 1]
    nearly_full = [store for store in stores if NEARLY_FULL <= shares[store] < 1]
    for id_, severity, chosen, state in (
        ("store-full", Severity.BROKEN, full, "full"),
        ("store-nearly-full", Severity.POSSIBLE, nearly_full, "nearly full"),
    ):
        if not chosen:
            continue
        is_list = chosen[0].kind == "list"
        yield Diagnosis(
            id_,
            severity,
            f"{len(chosen)} {chosen[0].kind}{'s are' if len(chosen) > 1 else ' is'} {state}: a new client "
            + ("replaces the one that was silent longest." if is_list else "is not bound any more."),
            "load xt_recent with a larger ip_list_tot (modprobe option, or xt_recent.ip_list_tot= on the kernel's"
            " command line), run more endpoints, or shorten timeoutSeconds"
            if is_list
            else "run more endpoints, or shorten timeoutSeconds",
            ("C37",) if is_list else (),
            tuple(
                first_lines(
                    [
                        f"{store.node}: {store.endpoint.pod or store.endpoint.at} has {store.live} of at most"
                        f" {store.capacity} clients"
                        for store in chosen
                    ]
                )
            ),
        )


DIAGNOSES = (rules_differ, failing_syncs, other_dataplane, full_stores)


def _judged_in(claim: str, modes: set[str]) -> bool:
    """Whether a claim is about one of these modes: some pairs of claims are about the same in iptables and nftables."""
    of_one_mode = {"C16": "iptables", "C18": "iptables", "C16n": "nftables", "C18n": "nftables"}
    return of_one_mode.get(claim) in (None, *modes)
