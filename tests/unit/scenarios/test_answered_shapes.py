"""Services of many shapes over pods: which get how many requests, and what is left of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from session_affinity.cluster_objects.capacity import NoRoomError, Selection
from session_affinity.dataplane.proxy_config import ProxyConfigs
from session_affinity.scenarios import answered_shapes as scenario
from session_affinity.scenarios.shapes import ShapeMaker
from session_affinity.shapes import arrays
from session_affinity.shapes import dimensions as of
from session_affinity.shapes.objects import Site, SiteNode, SitePod
from session_affinity.traffic.answers import Answer, Answers, Target
from session_affinity.traffic.client import ClientId

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

Json = dict[str, Any]
ROWS = arrays.array(arrays.ANSWERED).rows
SITE = Site(
    (SiteNode("a", "east", ()), SiteNode("b", "west", ())),
    pods=(SitePod("webpod1", "a", ("10.10.1.2",)), SitePod("webpod2", "b", ("10.10.2.2",))),
)


class Stored:
    """Keeps what was made; the first group is refused."""

    def __init__(self) -> None:
        self.groups: list[Sequence[Json]] = []

    def create_accepted(self, groups: Sequence[Sequence[Json]]) -> dict[int, str]:
        self.groups = list(groups[1:])
        return {0: "no such Services here"}

    def stored(self) -> tuple[list[Json], list[Json]]:
        services = [
            {**service, "spec": {**service["spec"], "clusterIP": f"10.200.1.{number + 1}"}}
            for number, (service, *_) in enumerate(self.groups)
        ]
        return services, [piece for _, *slices in self.groups for piece in slices]

    def delete_all(self) -> None:
        self.groups = []


@dataclass
class FakeClient:
    """Gets an answer of the first pod to every request."""

    rounds: list[tuple[int, int]] = field(default_factory=list)
    node = "a"
    address = "10.10.0.9"
    id = ClientId("net-pod", "10.10.0.9", "a")

    @property
    def with_short_timeouts(self) -> FakeClient:
        return self

    def request(self, *targets: Target, count: int = 1, name: str) -> Answers:
        assert name
        self.rounds.append((len(targets), count))
        return Answers(tuple(Answer(each, "webpod1", 200, 40000, 1, 0.01) for each in targets for _ in range(count)))


@dataclass
class FakeTestbed:
    """A testbed whose nodes cannot be read."""

    client: FakeClient
    reads_rules = False
    proxy_configs = ProxyConfigs()

    @property
    def services(self) -> FakeTestbed:
        return self

    family = "IPv4"

    def wait_for_client_sync(self, *_: object, since: float) -> None:
        assert since


def test_services_with_an_endpoint_get_several_requests_and_others_one() -> None:
    client, stored = FakeClient(), Stored()
    testbed: Any = FakeTestbed(client)
    services: Any = stored

    seen = scenario.observe(testbed, ShapeMaker(services, SITE), ROWS)

    assert len(seen.shapes) == len(ROWS) - 1
    assert seen.refused == {0: "no such Services here"}
    with_pods = [shape for shape in seen.shapes if shape.expected]
    assert client.rounds == [(len(with_pods), scenario.REQUESTS), (len(seen.shapes) - len(with_pods), 1)]
    assert all(len(shape.answers) == (scenario.REQUESTS if shape.expected else 1) for shape in seen.shapes)
    assert all(shape.entries is None for shape in seen.shapes)
    assert stored.groups == []


def test_what_may_answer_follows_from_the_row() -> None:
    stored = Stored()
    testbed: Any = FakeTestbed(FakeClient())
    services: Any = stored

    # The first is refused, which is the one with hints for nodes and ready endpoints.
    seen = scenario.observe(testbed, ShapeMaker(services, SITE), ROWS[::-1])

    for_nodes = [
        shape for shape in seen.shapes if (shape.row[of.HINTS], shape.row[of.CONDITIONS]) == (of.NODES, of.READY)
    ]
    assert {pod for shape in for_nodes for pod in shape.expected} == {"webpod1"}
    without = [shape for shape in seen.shapes if shape.row[of.CONDITIONS] in (of.NONE_READY, of.NOT_SERVING)]
    assert without
    assert not any(shape.expected for shape in without)


class TwoThenNone:
    """Has room for two batches of four."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.batches = 0

    def select(self, needed: Mapping[int, Counter[str]]) -> Selection:
        self.batches += 1
        if self.batches > 2:
            raise NoRoomError("no address is free")
        return Selection(tuple(needed)[:4])


def test_batches_are_answered_one_after_another_until_there_is_no_room() -> None:
    client, stored = FakeClient(), Stored()
    testbed: Any = FakeTestbed(client)
    services: Any = stored
    capacity: Any = TwoThenNone()

    seen = scenario.observe(testbed, ShapeMaker(services, SITE, capacity), ROWS)

    # The first of each batch is refused.
    assert [shape.row for shape in seen.shapes] == [ROWS[number] for number in (1, 2, 3, 5, 6, 7)]
    assert (seen.refused.keys(), seen.lacking) == ({0, 4}, "no address is free")
    assert stored.groups == []
