"""Waiting for a change to reach the nodes, and how long that took on each.

Where rules can be read, a change has arrived when they are what the Services call for. Elsewhere a Service made after
the change stands for it: kube-proxy applies what it has learned in the order it learned it, so when that one answers,
the change is in force on the client's node. The Services themselves are left alone: asking them would pin the client.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from affinity.dataplane import iptables
from affinity.dataplane.iptables import Chain, Ruleset
from affinity.dataplane.iptables_expected import SERVICES_CHAIN, port_chains
from affinity.errors import NotReadyError
from affinity.nodes import until
from affinity.services import Services, Wish, target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from affinity.dataplane.batch import NodeState
    from affinity.dataplane.iptables import Difference, Rule
    from affinity.dataplane.model import ProxyConfig, ServiceState
    from affinity.nodes import Nodes
    from affinity.traffic.client import Client

SETTLE_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.15
"""How long nodes are left alone between two reads: looking at them takes what they need to get on."""
IPTABLES: Final = "iptables"
_SHOWN: Final = 5


@dataclass(frozen=True)
class Settled:
    """What the nodes held at the end of a wait.

    ``seconds`` has, for each node that was programmed in time, how long after the change it was first seen so, to the
    accuracy of one read. ``differences`` has what the others still lacked, ``late`` the Services they lacked it of. All
    are empty where nodes cannot be read.
    """

    services: tuple[ServiceState, ...]
    states: Mapping[str, NodeState]
    seconds: Mapping[str, float]
    differences: Mapping[str, tuple[Difference, ...]]
    late: Mapping[str, tuple[ServiceState, ...]]
    waited: float

    def require(self, *nodes: str) -> Settled:
        """Return self when these nodes, or all, are programmed; raises NotReadyError naming what they lack."""
        late = {name: found for name, found in self.differences.items() if found and (not nodes or name in nodes)}
        if late:
            shown = [f"  {one}" for found in late.values() for one in found[:_SHOWN]]
            raise NotReadyError(
                f"{', '.join(late)}: not programmed {self.waited:.1f} s after the change:\n" + "\n".join(shown),
                next_step="see whether kube-proxy runs there; on a slow machine raise --deadline-scale",
            )
        return self

    def slowest(self) -> str:
        """Return how long the slowest node took."""
        return f"{max(self.seconds.values(), default=self.waited):.2f} s"

    def latency(self) -> str:
        """Return how long each node took, the slowest first."""
        slowest_first = sorted(self.seconds.items(), key=lambda item: -item[1])
        return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in slowest_first) or f"{self.waited:.2f} s"


class RulesOfServices:
    """A node's rules sorted by Service, so that waiting for many does not look through all rules for each.

    Chains of former endpoints are not among them: a claim about leftovers needs the node's whole ruleset.
    """

    def __init__(self, ruleset: Ruleset) -> None:
        self._chains = ruleset.chains()
        self._entries: dict[str, list[Rule]] = defaultdict(list)
        for rule in ruleset.rules(SERVICES_CHAIN):
            self._entries[(rule.value("-d") or "").partition("/")[0]].append(rule)

    def of(self, service: ServiceState) -> Ruleset:
        """Return the rules of one Service."""
        names = (*port_chains(service), *iptables.endpoint_chains(service))
        entries = [rule for address in service.cluster_ips for rule in self._entries.get(address, ())]
        chains = {name: self._chains[name] for name in names if name in self._chains}
        return Ruleset({"nat": {SERVICES_CHAIN: Chain(SERVICES_CHAIN, rules=tuple(entries)), **chains}})


@dataclass(frozen=True)
class Programming:
    """Waits until nodes hold what Services call for."""

    nodes: Nodes
    proxy: ProxyConfig
    client: Client
    services: Services
    slowness: float = 1.0

    @property
    def reads_rules(self) -> bool:
        """Whether the nodes' rules can be read and compared."""
        return bool(self.nodes.names) and self.proxy.mode == IPTABLES

    def settle(self, *services: ServiceState, since: float) -> Settled:
        """Wait until every node holds what the Services call for, or the deadline is over; the result says which.

        ``since`` is the ``time.monotonic()`` of the change. Raises NotReadyError only where rules cannot be read.
        """
        if self.reads_rules:
            return self._by_rules(services, since)
        return self._by_witness(services, since)

    def compare(self, state: NodeState, service: ServiceState) -> tuple[Difference, ...]:
        """Return how a node's rules for a Service differ from what it calls for."""
        return iptables.compare(state.node, service, self.proxy, state.ruleset)

    def _by_rules(self, services: Sequence[ServiceState], since: float) -> Settled:
        states: dict[str, NodeState] = {}
        differences: dict[str, tuple[Difference, ...]] = dict.fromkeys(self.nodes.names, ())
        late = {name: list(services) for name in self.nodes.names}
        seconds: dict[str, float] = {}

        def all_programmed() -> bool:
            began = time.monotonic()
            states.update(self.nodes.read(late))
            for name in list(late):
                rules = RulesOfServices(states[name].ruleset)
                found = {own: iptables.compare(name, own, self.proxy, rules.of(own)) for own in late[name]}
                differences[name] = tuple(one for own in found.values() for one in own)
                late[name] = [own for own, wrong in found.items() if wrong]
                if not late[name]:
                    del late[name]
                    seconds[name] = began - since
            return not late

        until(time.monotonic() + SETTLE_SECONDS * self.slowness, all_programmed, pause=POLL_SECONDS)
        unprogrammed = {name: tuple(left) for name, left in late.items()}
        return Settled(tuple(services), states, seconds, differences, unprogrammed, time.monotonic() - since)

    def _by_witness(self, services: Sequence[ServiceState], since: float) -> Settled:
        witness = self.services.create(Wish("witness"))

        def answers() -> bool:
            return not self.client.request(target(witness)).failures

        try:
            if not until(time.monotonic() + SETTLE_SECONDS * self.slowness, answers):
                raise NotReadyError(
                    f"{self.client.node}: a Service made after the change does not answer, "
                    f"{time.monotonic() - since:.1f} s after it",
                    next_step="see whether kube-proxy runs there; on a slow machine raise --deadline-scale",
                )
        finally:
            self.services.delete(witness)
        return Settled(tuple(services), {}, {}, {}, {}, time.monotonic() - since)
