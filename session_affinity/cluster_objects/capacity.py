"""How many generated Services a cluster of somebody else has room for at the same time.

A run uses at most half of what would be free without it: of the Service addresses that the API server has left, and of
what the namespace's quotas leave. So others can create Services while it goes on.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from session_affinity.cluster_objects.labels import COMPONENT, OF_SUITE
from session_affinity.cluster_objects.service_addresses import free_addresses
from session_affinity.errors import ClusterError
from session_affinity.kube.reply import FORBIDDEN, ApiError
from session_affinity.kube.resources import RESOURCE_QUOTAS, SERVICES
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from session_affinity.dataplane.model import Family
    from session_affinity.kube.api import Api

SHARE: Final = 2
"""A run uses one part in so many of what would be free without it."""
FEWEST: Final = 8
"""Batches of fewer Services than this take too long: nothing is made then."""
WHERE_UNKNOWN: Final = 16
"""How many addresses a batch uses where the free ones are not known: a fraction of the smallest usual range, a /24."""
SENTINEL: Final = 1
"""The Service that is created beside a batch, to see when the nodes have synced it."""
SERVICE: Final = "Services"
NODE_PORT: Final = "node ports"
LOAD_BALANCER: Final = "load balancers"
_QUOTAS: Final = {
    "services": SERVICE,
    "count/services": SERVICE,
    "services.nodeports": NODE_PORT,
    "services.loadbalancers": LOAD_BALANCER,
}
_FULL_RANGE: Final = "range is full"
_FULL_QUOTA: Final = re.compile(r"exceeded quota: .* requested: (\S+,)?(count/)?services=")


class NoRoomError(ClusterError):
    """The cluster has too few Service addresses left, or a quota allows too few Services."""


def is_for_lack_of_room(error: ApiError) -> bool:
    """Whether the API refused a Service because a range of addresses or node ports, or a quota of Services, is used up.

    ErrFull of kube-apiserver's allocators has status 500; the quota's refusal is that of the admission plugin
    ResourceQuota, which names what would be exceeded.
    """
    if error.status == FORBIDDEN:
        return _FULL_QUOTA.search(error.what) is not None
    return error.status >= 500 and _FULL_RANGE in error.what


def address_of(family: Family) -> str:
    """Return the name of the addresses of a family as a resource."""
    return f"{family} Service addresses"


def needs(service: Mapping[str, Any]) -> Counter[str]:
    """Return how much a Service needs of each resource, from its manifest or as stored.

    As quotas count it: kubernetes/kubernetes pkg/quota/v1/evaluator/core/services.go.
    """
    spec = service["spec"]
    needed = Counter({SERVICE: 1})
    if spec.get("type") != "ExternalName" and spec.get("clusterIP") != "None":
        needed.update(address_of(family) for family in spec.get("ipFamilies") or ())
    is_balanced = spec.get("type") == "LoadBalancer"
    if is_balanced:
        needed[LOAD_BALANCER] += 1
    if spec.get("type") == "NodePort" or (is_balanced and spec.get("allocateLoadBalancerNodePorts", True)):
        needed[NODE_PORT] += len(spec["ports"])
    return needed


@dataclass(frozen=True)
class Room:
    """How much of each resource the next batch may use, as far as it is limited, and why, in words.

    ``grows`` says that there will be more: other generated Services of the run are going to be deleted, or were.
    """

    most: Mapping[str, int]
    why: str
    grows: bool = False

    def short_of(self, needed: Mapping[str, int]) -> list[str]:
        """Return the resources of which there is too little for all that is needed, made in batches."""
        return [name for name, most in self.most.items() if most < min(FEWEST, needed.get(name, 0))]


@dataclass(frozen=True)
class Selection:
    """The Services of the next batch, by number; ``refused`` are the reasons of those that fit into no batch.

    ``why`` says in words why there are no more; empty where there is no limit.
    """

    numbers: tuple[int, ...]
    refused: Mapping[int, str] = field(default_factory=dict)
    why: str = ""


def select(needed: Mapping[int, Counter[str]], room: Room) -> Selection:
    """Return the Services that fit into a room, by what each needs.

    Services that need what there is too little of are refused; raises NoRoomError if all need it.
    """
    total = sum(needed.values(), Counter[str]())
    short = room.short_of(total)
    if any(_is_essential(name) for name in short):
        raise NoRoomError(
            f"{room.why}: at most {', '.join(f'{room.most[name]} {name}' for name in short)} for generated Services",
            next_step="select these claims alone, or give the cluster another ServiceCIDR",
        )
    refused = {
        number: f"a quota leaves too few {name}: {room.why}"
        for number, each in needed.items()
        for name in short
        if each[name]
    }
    used: Counter[str] = Counter()
    numbers = []
    for number, each in needed.items():
        if number not in refused and all(used[name] + each[name] <= most for name, most in room.most.items()):
            used += each
            numbers.append(number)
    return Selection(tuple(numbers), refused, room.why)


class ServiceCapacity:
    """Knows how many generated Services of a run may exist at the same time; may be shared by threads.

    ``components`` are the label's values of generated Services; ``reserved`` is how many Services the rest of the run
    may have at the same time. ``seconds`` bounds the wait for other generated Services to be deleted. ``turn`` is held
    from asking for a selection until it is created, so that no two rely on the same addresses.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        families: Sequence[Family],
        *,
        components: Collection[str],
        reserved: int,
        seconds: float,
    ) -> None:
        self.turn = threading.Lock()
        self._api = api
        self._namespace = namespace
        self._families = families
        self._components = components
        self._reserved = reserved
        self._seconds = seconds
        self._was_asked = False

    def select(self, needed: Mapping[int, Counter[str]]) -> Selection:
        """Return the next of the Services that are to be made; raises NoRoomError and ApiError."""
        rooms: list[Room] = []
        total = sum(needed.values(), Counter[str]())

        def is_enough() -> bool:
            rooms.append(self.room())
            return not rooms[-1].grows or not any(map(_is_essential, rooms[-1].short_of(total)))

        poll(is_enough, self._seconds, pause=0.5)
        self._was_asked = True
        return select(needed, rooms[-1])

    def room(self) -> Room:
        """Read how much the next batch may use; raises ApiError."""
        services = self._api.objects(SERVICES, self._namespace, labels=OF_SUITE)
        generated, others = Counter[str](), Counter[str]()
        for service in services:
            component = service["metadata"]["labels"].get(COMPONENT)
            (generated if component in self._components else others).update(needs(service))
        most: dict[str, int] = {}
        words = []
        free = free_addresses(self._api, self._families)
        if isinstance(free, str):
            words.append(f"how many Service addresses are free is not known ({free})")
            most = {address_of(family): WHERE_UNKNOWN for family in self._families}
        else:
            for family, addresses in free.items():
                name = address_of(family)
                without = addresses.free + generated[name] + others[name]
                most[name] = without // SHARE - generated[name] - max(others[name], self._reserved) - SENTINEL
                words.append(f"{without} of {addresses.size} {name} are not used by others")
        quotas = self._quotas()
        for name, left in quotas.items():
            without = left + generated[name] + others[name]
            reserved = max(others[name], self._reserved) + SENTINEL if _is_essential(name) else others[name]
            most[name] = without // SHARE - generated[name] - reserved
            words.append(f"quotas of namespace {self._namespace} leave {without} {name}")
        for_others = f", and {self._reserved} Services are for other claims" if self._reserved else ""
        # A quota goes on counting Services for a moment after they were deleted.
        grows = bool(generated) or (self._was_asked and bool(quotas))
        return Room(most, f"{', '.join(words)}; a run takes at most half{for_others}", grows)

    def _quotas(self) -> dict[str, int]:
        """Return how much quotas of the namespace leave of each resource; of none if they may not be read."""
        try:
            quotas = self._api.objects(RESOURCE_QUOTAS, self._namespace)
        except ApiError as error:
            if error.status != FORBIDDEN:
                raise
            return {}
        return quotas_left(quotas)


def quotas_left(quotas: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how much quotas leave of each resource that Services need; one with scopes does not count Services."""
    from session_affinity.kube.client_library import quantity

    left: dict[str, int] = {}
    for quota in quotas:
        if quota["spec"].get("scopes") or quota["spec"].get("scopeSelector"):
            continue
        status = quota.get("status") or {}
        for name, hard in (status.get("hard") or {}).items():
            if name in _QUOTAS:
                rest = int(quantity(hard) - quantity((status.get("used") or {}).get(name, "0")))
                left[_QUOTAS[name]] = min(rest, left.get(_QUOTAS[name], rest))
    return left


def _is_essential(name: str) -> bool:
    """Whether Services of most shapes need a resource."""
    return name not in (NODE_PORT, LOAD_BALANCER)
