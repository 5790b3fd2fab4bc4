"""What a node's nat rules say of a Service, without judging them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from affinity.dataplane import names
from affinity.dataplane.iptables_expected import SERVICES_CHAIN, balancing_chains, endpoint_chains, port_chains

if TYPE_CHECKING:
    from affinity.dataplane.iptables_save import Ruleset
    from affinity.dataplane.model import ServiceState


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
    chains += sorted(chain for chain in reached if chain.startswith(names.ENDPOINT_CHAIN))
    entries = [rule for rule in ruleset.rules(SERVICES_CHAIN) if rule.target in chains]
    return tuple(str(rule) for rule in (*entries, *(rule for chain in chains for rule in ruleset.rules(chain))))
