"""Walks on simulated kube-proxies: right ones, one that loses changes, and what is known of the real one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.claims.known_behaviour import NODE_ADDRESSES_LOST
from session_affinity.cluster_objects.handmade import states
from session_affinity.dataplane.backends import IPTABLES
from session_affinity.dataplane.iptables.expected import endpoint_chains
from session_affinity.dataplane.model import SERVICE_NAME_LABEL, ServiceState
from session_affinity.dataplane.xt_recent import Entry, RecentList
from session_affinity.errors import NodeError
from session_affinity.nodes.node import Completed
from session_affinity.scenarios import comparison
from session_affinity.scenarios.walks.run import run_walk
from session_affinity.scenarios.walks.slice_cache import RELABELLED
from session_affinity.scenarios.walks.steps import Bind, Edit, Kind, Restart, Scope, SeededChoice, Step, Wait
from session_affinity.scenarios.walks.walk import KINDS, kinds, moves, seeded_walk
from session_affinity.verdicts.walks import judge_walk
from tests.walk_world import NODES, World

if TYPE_CHECKING:
    from collections.abc import Collection

    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.nodes.by_node import ByNode

WITHOUT_CLIENTS = tuple(kind for kind in kinds(Scope.NODES) if kind.name != "bind")


@pytest.fixture(autouse=True)
def quick_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "POLL_SECONDS", 0.001)


def stray_service() -> ServiceState:
    """Return a Service with an endpoint that no API stores."""
    metadata = {"name": "stray", "namespace": "work"}
    spec = {"type": "ClusterIP", "clusterIP": "10.200.9.9", "ports": [{"name": "", "port": 80, "protocol": "TCP"}]}
    endpoint_slice = {
        "metadata": {"name": "stray-1", "namespace": "work", "labels": {SERVICE_NAME_LABEL: "stray"}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.10.9.9"], "conditions": {"ready": True}}],
    }
    (state,) = states([{"metadata": metadata, "spec": spec}], [endpoint_slice])
    return state


def step(name: str, *numbers: int) -> Step:
    """Return a step of a kind, drawn by the given numbers; 0 where there are none left."""
    given = iter(numbers)
    kind = next(kind for kind in KINDS if kind.name == name)
    return kind.draw(lambda options: options[next(given, 0)])


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_healthy_kube_proxy_follows_every_walk(mode: str, seed: int) -> None:
    walk = seeded_walk(seed, 60, WITHOUT_CLIENTS, NODES)

    result = run_walk(World(mode).ground(), walk, "")

    verdict = judge_walk(result)
    assert verdict.ok, verdict.findings
    assert result.steps > 30
    assert result.compared > 30


def test_everything_is_deleted_and_mended_at_the_end() -> None:
    world = World()
    run_walk(world.ground(), seeded_walk(5, 60, WITHOUT_CLIENTS, NODES), "")

    assert not world.objects
    assert not any(world.zones.values())
    assert not any(proxy.is_paused or proxy.is_failing for proxy in world.proxies.values())


def test_a_node_that_stops_answering_leaves_a_walk_undetermined() -> None:
    world = World()
    world.unreadable.add("two")

    with pytest.raises(NodeError, match="two: gone"):
        run_walk(world.ground(), moves((step("create Service"), Wait()), NODES), "")


def test_a_walk_ends_where_a_node_is_wrong() -> None:
    world = World(defective="two")
    steps = (
        step("create Service"),
        Wait(),
        step("let syncs fail", 0),
        step("add endpoint", 0, 5),
        step("end faults"),
        Wait(),
        step("delete Service"),
        Wait(),
    )

    result = run_walk(world.ground(), moves(steps, NODES), "")

    verdict = judge_walk(result)
    assert not verdict.ok
    assert {finding.where for finding in verdict.findings} == {"two"}
    assert result.steps == 4
    assert result.wrong_services == ("walk-a",)
    assert not world.objects


@pytest.mark.parametrize(
    ("mode", "others", "where"), [("iptables", (), ["two"]), ("nftables", (), ["two"]), ("iptables", None, [])]
)
def test_where_nothing_else_changes_rules_that_no_service_calls_for_are_left_over(
    mode: str, others: tuple[()] | None, where: list[str]
) -> None:
    world = World(mode, defective="two")
    world.proxies["two"].written["stray"] = stray_service()

    result = run_walk(replace(world.ground(), others=others), moves((step("create Service"), Wait()), NODES), "")

    assert list(result.leftovers) == where
    assert not result.differences


def test_a_relabelled_slice_that_stays_is_known_and_hides_nothing_else() -> None:
    relabelled = (step("create Service"), Wait(), step("relabel slice", 0, 1), Wait())
    world = World()

    right = run_walk(world.ground(), moves(relabelled, NODES), "")

    assert judge_walk(right).ok
    assert right.known == {f"kube-proxy {RELABELLED.what}": 3}

    fails = (*relabelled, step("let syncs fail", 0), step("switch affinity"), step("end faults"), Wait())
    wrong = run_walk(World(defective="two").ground(), moves(fails, NODES), "")

    assert list(wrong.differences) == ["two"]


def test_a_restart_ends_what_is_known_of_a_relabelled_slice() -> None:
    steps = (
        step("create Service"),
        Wait(),
        step("relabel slice", 0, 1),
        *(Restart(number) for number in range(3)),
        Wait(),
    )

    result = run_walk(World().ground(), moves(steps, NODES), "")

    assert judge_walk(result).ok
    assert not result.known


def test_an_endpoint_that_slices_disagree_about_is_known() -> None:
    steps = (step("create Service"), step("create slice", 6), step("change conditions", 1, 6), Wait())

    result = run_walk(World().ground(), moves(steps, NODES), "")

    assert judge_walk(result).ok
    assert result.known == {"slices disagree about an endpoint": 1}


FAILING = (step("create Service"), Wait(), step("let syncs fail", 0), step("end faults"))
NODE_PORTS = (step("change type", 0, 1), Wait())


def losing_addresses() -> World:
    """Return nodes of nftables mode that answer no node port after their syncs failed."""
    world = World("nftables")
    for proxy in world.proxies.values():
        proxy.loses_addresses = True
    return world


def test_addresses_that_are_lost_while_syncs_fail_are_known() -> None:
    result = run_walk(losing_addresses().ground(), moves((*FAILING, *NODE_PORTS), NODES), "")

    assert judge_walk(result).ok
    assert result.known == {f"kube-proxy {NODE_ADDRESSES_LOST.what}": 1}
    assert len(result.lost_addresses) == 1


def test_a_node_that_lost_its_addresses_is_named_whether_or_not_a_walk_showed_it() -> None:
    assert len(run_walk(losing_addresses().ground(), moves(FAILING, NODES), "").lost_addresses) == 1
    assert not run_walk(World("nftables").ground(), moves(FAILING, NODES), "").lost_addresses


def test_a_node_whose_syncs_fail_until_a_walk_is_found_wrong_may_lose_its_addresses_later() -> None:
    world = World("nftables")
    world.proxies["three"].has_no_address = True

    result = run_walk(world.ground(), moves((*FAILING[:-1], *NODE_PORTS), NODES), "")

    assert list(result.differences) == ["three"]
    assert result.lost_addresses == ("two",)


def test_a_restart_ends_that_addresses_are_lost() -> None:
    restarts = tuple(Restart(number) for number in range(3))
    result = run_walk(losing_addresses().ground(), moves((*FAILING, *restarts, *NODE_PORTS), NODES), "")

    assert judge_walk(result).ok
    assert not result.known
    assert not result.lost_addresses


def test_lost_addresses_of_a_node_whose_syncs_never_failed_are_wrong_and_hide_nothing() -> None:
    world = losing_addresses()
    world.proxies["three"].has_no_address = True

    result = run_walk(world.ground(), moves((*FAILING, *NODE_PORTS), NODES), "")

    assert list(result.differences) == ["three"]
    assert result.known == {f"kube-proxy {NODE_ADDRESSES_LOST.what}": 1}

    loses_both = (step("let syncs fail", 0), step("switch affinity"), step("end faults"), Wait())
    world = losing_addresses()
    world.proxies["two"].loses_changes = True
    result = run_walk(world.ground(), moves((step("create Service"), *NODE_PORTS, *loses_both), NODES), "")

    assert list(result.differences) == ["two"]


def test_what_a_walk_created_is_deleted_when_it_is_interrupted() -> None:
    world = World()

    def interrupt(number: int, _: str) -> None:
        if number == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_walk(world.ground(), seeded_walk(1, 60, WITHOUT_CLIENTS, NODES), "", on_step=interrupt)

    assert not world.objects


class WorldOfLists(World):
    """Nodes with recent lists, which chains have that are not used any more where there are many endpoints."""

    def __init__(self, *, is_large: bool) -> None:
        super().__init__()
        self.is_large = is_large
        self.lists: dict[str, dict[str, dict[str, Entry]]] = {node: {} for node in NODES}

    def run(self, node: str, argv: tuple[str, ...]) -> Completed:
        """Write to lists."""
        words = argv[argv.index("write") + 1 :]
        for name, text in zip(words[::2], words[1::2], strict=True):
            self.lists[node][name].pop(text[1:], None)
            if text[0] == "+":
                self.lists[node][name][text[1:]] = Entry(text[1:], 0, 1, 1, (1,))
        return Completed(node, argv, 0, "", "")

    def read(self, names: Collection[str]) -> ByNode[NodeSnapshot]:
        return super().read(names).map(self._with_lists)

    def _with_lists(self, node: str, snapshot: NodeSnapshot) -> NodeSnapshot:
        states, lists = self.proxies[node].written.values(), self.lists[node]
        used = {state: set(IPTABLES.expected(state, self._config(), node).names) for state in states}
        chains = {name for of_state in used.values() for name in of_state}
        called_for = {
            name for state in states if state.has_affinity for name in endpoint_chains(state) if name in used[state]
        }
        for name in [name for name in lists if name not in called_for and (name in chains or not self.is_large)]:
            del lists[name]
        lists |= {name: {} for name in called_for if name not in lists}
        return replace(
            snapshot, lists={name: RecentList(name, tuple(clients.values())) for name, clients in lists.items()}
        )


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("seed", [5, 9])
def test_bound_clients_are_followed_whether_or_not_unused_lists_stay(seed: int, *, is_large: bool) -> None:
    of_services = ("create Service", "delete Service", "make Service again")
    of_slices = ("create slice", "delete slice", "make slice again")
    wanted = (*of_services, *of_slices, "bind", "wait")
    walk = seeded_walk(seed, 120, tuple(kind for kind in KINDS if kind.name in wanted), NODES)

    result = run_walk(WorldOfLists(is_large=is_large).ground(), walk, "")

    assert judge_walk(result).ok, result.entries
    assert result.kept


def test_every_kind_applies_in_some_walk() -> None:
    before = [move.step for move in seeded_walk(7, 300, kinds(Scope.NODES), NODES)]

    def applies(kind: Kind) -> bool:
        for length in range(300):
            drawn = kind.draw(SeededChoice(length))
            if any(move.step is drawn for move in moves((*before[:length], drawn), NODES)):
                return True
        return False

    assert [kind.name for kind in KINDS if not applies(kind)] == []


def test_steps_at_a_node_with_a_fault_do_not_apply() -> None:
    walk = moves((step("create Service"), step("pause kube-proxy", 0), Restart(1), Bind("walk-a", 0, 0, 1)), NODES)

    assert [type(move.step) for move in walk] == [Edit, Edit, Edit, Wait]
