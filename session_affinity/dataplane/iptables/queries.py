"""Read facts about a Service out of a node's nat rules, without judging them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from session_affinity.dataplane import chain_names
from session_affinity.dataplane.iptables.expected import ENTRY_CHAINS, balancing_chains, endpoint_chains, port_chains
from session_affinity.dataplane.iptables.index import index_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from session_affinity.dataplane.iptables.save import Rule, Ruleset
    from session_affinity.dataplane.model import ServiceState


def affinity_timeouts(service: ServiceState, ruleset: Ruleset) -> dict[str, int]:
    """Return the ``--seconds`` of the rcheck rules by recent list; empty without affinity.

    When several rules check the same list, the first rule counts.
    """
    timeouts: dict[str, int] = {}
    for chain in balancing_chains(service):
        for rule in ruleset.rules(chain):
            recent = rule.match("recent")
            name, seconds = (recent["--name"], recent["--seconds"]) if recent else (None, None)
            if name and seconds:
                timeouts.setdefault(name.value, int(seconds.value))
    return timeouts


def normalised(service: ServiceState, ruleset: Ruleset) -> tuple[str, ...]:
    """Return a Service's rules without counters and comments, to compare nodes with each other.

    With a Local traffic policy the rules of nodes differ rightly.
    """
    chains = [chain for chain in port_chains(service) if ruleset.chain(chain)]
    targets = {rule.target for chain in chains for rule in ruleset.rules(chain)} | set(endpoint_chains(service))
    chains += sorted(chain for chain in targets if chain.startswith(chain_names.ENDPOINT_CHAIN))
    rules = (rule for chain in chains for rule in ruleset.rules(chain))
    return tuple(map(str, (*_entry_rules(chains, ruleset), *rules)))


def affinity_rules(service: ServiceState, ruleset: Ruleset) -> tuple[str, ...]:
    """Return the rules of a Service that match with ``recent``."""
    return tuple(rule for rule in normalised(service, ruleset) if "-m recent" in rule)


def objects_of(service: ServiceState, ruleset: Ruleset) -> tuple[str, ...]:
    """Return the chains of a Service, those of former endpoints included, and the rules that lead to them."""
    chains = [chain for chain in port_chains(service) if ruleset.chain(chain)]
    current = [chain for chain in endpoint_chains(service) if ruleset.chain(chain)]
    chains += sorted({*endpoint_chain_targets(service, ruleset), *current})
    return (*map(str, _entry_rules(chains, ruleset)), *(f"chain {chain}" for chain in chains))


def is_deletion_deferred(service: ServiceState, ruleset: Ruleset) -> bool:
    """Return whether kube-proxy may rightly have chains of a deleted Service: no rule leads there, and it put that off.

    It does above 1000 endpoints, where the rules that it writes have no comments.
    """
    chains = port_chains(service)
    return index_of(ruleset).has_uncommented_rules and not _entry_rules(chains, ruleset)


def deferred_chains(service: ServiceState, ruleset: Ruleset) -> tuple[str, ...]:
    """Return the KUBE-SEP chains of a Service that no packet gets to where kube-proxy puts off their deletion."""
    index = index_of(ruleset)
    if not index.has_uncommented_rules:
        return ()
    chains = dict.fromkeys((*endpoint_chain_targets(service, ruleset), *endpoint_chains(service)))
    return tuple(chain for chain in chains if ruleset.chain(chain) and chain not in index.chains_in_use)


def endpoint_chain_targets(service: ServiceState, ruleset: Ruleset) -> Mapping[str, str]:
    """Return the node's KUBE-SEP chains of a Service with their DNAT targets, those of former endpoints included.

    The name of a KUBE-SEP chain is the hash of Service port and DNAT target, so it can be verified without the
    endpoint (pkg/proxy/iptables/proxier.go, servicePortEndpointChainName).
    """
    return index_of(ruleset).former_endpoints((service,), ()).get(service, {})


def _entry_rules(chains: Iterable[str], ruleset: Ruleset) -> list[Rule]:
    """Return the rules of KUBE-SERVICES and KUBE-NODEPORTS that lead to the chains."""
    targets = set(chains)
    return [rule for entry in ENTRY_CHAINS for rule in ruleset.rules(entry) if rule.target in targets]
