"""What a node's nat rules say of a Service, without judging them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from session_affinity.dataplane import chain_names
from session_affinity.dataplane.iptables.expected import ENTRY_CHAINS, balancing_chains, endpoint_chains, port_chains

if TYPE_CHECKING:
    from session_affinity.dataplane.iptables.save import Ruleset
    from session_affinity.dataplane.model import ServiceState


def affinity_timeouts(service: ServiceState, ruleset: Ruleset) -> dict[str, int]:
    """Return the seconds that a node remembers a client now, by endpoint chain, from the rcheck rules it holds.

    A list that several rules check counts with the first; the result is empty where nothing is remembered.
    """
    found: dict[str, int] = {}
    for chain in balancing_chains(service):
        for rule in ruleset.rules(chain):
            recent = rule.match("recent")
            name, seconds = (recent["--name"], recent["--seconds"]) if recent else (None, None)
            if name and seconds:
                found.setdefault(name.value, int(seconds.value))
    return found


def normalised(service: ServiceState, ruleset: Ruleset) -> tuple[str, ...]:
    """Return a node's rules for a Service without counters and comments, for comparing nodes with each other.

    Nodes may differ rightly where a traffic policy is Local.
    """
    chains = [chain for chain in port_chains(service) if ruleset.chain(chain)]
    reached = {rule.target for chain in chains for rule in ruleset.rules(chain)} | set(endpoint_chains(service))
    chains += sorted(chain for chain in reached if chain.startswith(chain_names.ENDPOINT_CHAIN))
    entries = [rule for entry in ENTRY_CHAINS for rule in ruleset.rules(entry) if rule.target in chains]
    return tuple(str(rule) for rule in (*entries, *(rule for chain in chains for rule in ruleset.rules(chain))))


def affinity_rules(service: ServiceState, ruleset: Ruleset) -> tuple[str, ...]:
    """Return the rules of a Service that remember clients or ask for them."""
    return tuple(rule for rule in normalised(service, ruleset) if "-m recent" in rule)


def objects_of(service: ServiceState, ruleset: Ruleset) -> tuple[str, ...]:
    """Return the chains of a Service, those of former endpoints included, and the rules that lead to them."""
    chains = [chain for chain in port_chains(service) if ruleset.chain(chain)]
    present = [chain for chain in endpoint_chains(service) if ruleset.chain(chain)]
    chains += sorted({*own_endpoint_chains(service, ruleset), *present})
    entries = [rule for entry in ENTRY_CHAINS for rule in ruleset.rules(entry) if rule.target in chains]
    return (*map(str, entries), *(f"chain {chain}" for chain in chains))


def own_endpoint_chains(service: ServiceState, ruleset: Ruleset) -> dict[str, str]:
    """Return the endpoint chains whose name says that they are of this Service, with where each translates to.

    The name derives from port and DNAT target, so that the chains of former endpoints are known too.
    """
    ports = [(service.port_name(port), port.protocol) for port in service.ports]
    found: dict[str, str] = {}
    for chain in ruleset.chains():
        target = translates_to(chain, ruleset) if chain.startswith(chain_names.ENDPOINT_CHAIN) else None
        if target and chain in {chain_names.iptables_endpoint_chain(*port, target) for port in ports}:
            found[chain] = target
    return found


def translates_to(chain: str, ruleset: Ruleset) -> str | None:
    """Return the DNAT target of a chain."""
    return next(filter(None, (rule.value("--to-destination") for rule in ruleset.rules(chain))), None)
