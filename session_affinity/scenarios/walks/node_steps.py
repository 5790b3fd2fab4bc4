"""Steps at nodes: zones, kube-proxies that are restarted, paused or fail to sync, and clients that are bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from session_affinity.scenarios.walks.objects import Fault
from session_affinity.scenarios.walks.service_edits import SERVICES
from session_affinity.scenarios.walks.slice_edits import ZONES
from session_affinity.scenarios.walks.steps import Bind, Edit, Kind, Restart, Scope, Wait

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.scenarios.walks.objects import Objects
    from session_affinity.scenarios.walks.steps import Choose

NODES: Final = (1, 0, 2, 3)


def _label_zone(choose: Choose) -> Edit:
    node, zone = choose(NODES), choose(("", *ZONES))

    def change(objects: Objects) -> Sequence[Objects]:
        name = objects.node(node)
        return (objects.with_zone(name, zone),) if objects.zones.get(name, "") != zone else ()

    return Edit(f"move node {node} to zone {zone or 'none'}", change)


def _begin_fault(choose: Choose, fault: Fault) -> Edit:
    node = choose(NODES)

    def change(objects: Objects) -> Sequence[Objects]:
        name = objects.node(node)
        # Of one node at a time: the others show what is right.
        return () if objects.faults else (objects.with_fault(name, fault),)

    return Edit(f"kube-proxy of node {node} is {fault}", change)


END_FAULTS: Final = Edit(
    "kube-proxy works again", lambda objects: (objects.without_faults(),) if objects.faults else ()
)
KINDS: Final = (
    Kind("wait", lambda _: Wait(), weight=4),
    Kind("bind", lambda choose: Bind(choose(SERVICES), choose(range(4)), choose(range(4)), choose(NODES)), weight=5),
    Kind("label zone", _label_zone, scope=Scope.NODES),
    Kind("restart kube-proxy", lambda choose: Restart(choose(NODES)), scope=Scope.NODES),
    Kind("pause kube-proxy", lambda choose: _begin_fault(choose, Fault.PAUSED), scope=Scope.NODES),
    Kind("let syncs fail", lambda choose: _begin_fault(choose, Fault.FAILING), weight=4, scope=Scope.NODES),
    Kind("end faults", lambda _: END_FAULTS, weight=5, scope=Scope.NODES),
)
