"""An inspection as text, on one screen: as wide as the terminal, without colours where nobody looks at one."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from session_affinity.inspection.diagnosis import Severity
from session_affinity.inspection.objects import EXTERNAL_NAME
from session_affinity.inspection.observation import ClientKind, RulesState
from session_affinity.inspection.result import InspectionVerdict
from session_affinity.inspection.spread import spread_of
from session_affinity.text import listed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from rich.console import RenderableType

    from session_affinity.inspection.diagnosis import Diagnosis
    from session_affinity.inspection.objects import InspectedObjects
    from session_affinity.inspection.observation import BoundClient, Observation
    from session_affinity.inspection.result import Inspection

PLAIN_WIDTH: Final = 120
"""The width of the text where it is not written to a terminal."""
MOST_CLIENTS: Final = 10
MOST_ENDPOINTS: Final = 6
_COLOURS: Final = {
    InspectionVerdict.WORKS: "green",
    InspectionVerdict.BROKEN: "red",
    InspectionVerdict.UNDETERMINED: "yellow",
    Severity.BROKEN: "red",
    Severity.POSSIBLE: "yellow",
    Severity.NOTE: "cyan",
}


def print_text(inspection: Inspection, file: IO[str]) -> None:
    """Write an inspection to a terminal or a file."""
    if file.isatty():
        _console(file).print(as_text(inspection))
        return
    text = StringIO()
    _console(text, PLAIN_WIDTH).print(as_text(inspection))
    file.writelines(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _console(file: IO[str], width: int | None = None) -> Console:
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False)


def as_text(inspection: Inspection) -> RenderableType:
    """Return what rich renders as the text of an inspection."""
    observation = inspection.observation
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True, style="bold")
    facts.add_column(overflow="fold")
    for name, lines in (
        ("Service", list(_service(observation.objects))),
        ("Promised", list(_promise(observation.objects))),
        ("Rules", list(_rules(observation))),
        ("Clients", _clients(observation)),
        ("Spread", list(_spread(observation))),
        ("Room", list(_room(observation))),
        ("Not read", [f"{unread.what}: {unread.why}" for unread in observation.unread]),
    ):
        if lines:
            facts.add_row(name, Group(*(line if isinstance(line, Table) else Text(line) for line in lines)))
    headline = Text.assemble(
        (observation.objects.key, "bold"), ": ", (headline_of(inspection), _COLOURS[inspection.verdict])
    )
    return Group(
        headline, Text(), facts, *_diagnoses(inspection.diagnoses), Text(f"\nread in {inspection.seconds:.1f} s")
    )


def headline_of(inspection: Inspection) -> str:
    """Return the verdict in one line."""
    severities = [diagnosis.severity for diagnosis in inspection.diagnoses]
    broken, possible = severities.count(Severity.BROKEN), severities.count(Severity.POSSIBLE)
    also = f"; {_count(possible, 'possible cause')} of trouble" if possible else ""
    if inspection.verdict is InspectionVerdict.BROKEN:
        return f"affinity does not work as requested: {_count(broken, 'cause')}{also}"
    if inspection.verdict is InspectionVerdict.UNDETERMINED:
        return f"undetermined: nothing found that keeps affinity from working, but not everything could be read{also}"
    nodes = len(inspection.observation.nodes)
    return f"all {nodes} nodes have the expected rules, and nothing keeps affinity from working{also}"


def duration(seconds: float) -> str:
    """Return seconds as a reader takes them in: ``8.2 s``, ``179 s``, ``2 h 59 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _service(objects: InspectedObjects) -> Iterator[str]:
    spec = objects.spec
    if objects.type == EXTERNAL_NAME:
        yield f"ExternalName {spec.get('externalName')}"
        return
    ports = ", ".join(
        f"{port.get('name') or ''} {port['port']}/{port.get('protocol') or 'TCP'}".strip()
        + (f" (node port {port['nodePort']})" if port.get("nodePort") else "")
        for port in spec.get("ports") or ()
    )
    policies = [
        f"{name} {spec[name]}"
        for name in ("internalTrafficPolicy", "externalTrafficPolicy", "trafficDistribution")
        if spec.get(name)
    ]
    addresses = ", ".join(objects.cluster_ips) or "without cluster IP (headless)"
    yield "; ".join((f"{objects.type} {addresses}", ports or "no ports", "/".join(objects.families), *policies))
    ready = max(len({endpoint.address for endpoint in state.endpoints}) for state in objects.states.values())
    unready = len(list(objects.unready_endpoints()))
    selector = ",".join(f"{name}={value}" for name, value in (spec.get("selector") or {}).items())
    endpoints = "endpoints not read" if objects.slices is None else f"{_count(ready, 'ready endpoint')}"
    yield f"selector {selector or 'none'}; {endpoints}" + (f", {unready} not ready" if unready else "")


def _promise(objects: InspectedObjects) -> Iterator[str]:
    if not objects.has_affinity:
        yield "nothing, for sessionAffinity is None"
        return
    if not objects.cluster_ips:
        yield "nothing, for ClientIP is about connections to a cluster IP"
        return
    timeout = objects.timeout_seconds or 0
    yield f"sessionAffinity ClientIP, timeoutSeconds {timeout}: all connections from one address go to one endpoint,"
    yield f"until {duration(timeout)} pass without a new one; separately on each node, port, protocol and IP family"


def _rules(observation: Observation) -> Iterator[str]:
    nodes = observation.nodes
    if not nodes:
        yield f"no node was read; kube-proxy's mode: {', '.join(observation.modes)} ({observation.mode_source})"
        return
    modes = ", ".join(dict.fromkeys(node.mode for node in nodes))
    for state in RulesState:
        names = [node.node for node in nodes if node.rules is state]
        if not names:
            continue
        which = f"all {len(nodes)} nodes" if len(names) == len(nodes) else f"{len(names)} of {len(nodes)} nodes"
        where = "" if state is RulesState.EXPECTED else f": {listed(names)}"
        yield f"{which} {state}{where} ({modes} mode)"
    yield from dict.fromkeys(node.not_read or node.not_compared for node in nodes if node.not_read or node.not_compared)


def _clients(observation: Observation) -> list[str | Table]:
    bindings = observation.live_bindings
    if not observation.binds_clients:
        return []
    if not bindings:
        return ["none is bound on any node"]
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column(overflow="fold")
    for _ in range(2):
        table.add_column(no_wrap=True, justify="right")
    table.add_row("client", "bound to", "on node", "last connection", "free in", style="dim")
    several_ports = len({binding.port for binding in bindings}) > 1
    for binding in bindings[:MOST_CLIENTS]:
        table.add_row(
            client_in_words(observation, binding),
            (f"{binding.port} " if several_ports else "") + (binding.endpoint.pod or binding.endpoint.at),
            binding.node,
            "unknown" if binding.age is None else f"{duration(binding.age)} ago",
            "unknown" if binding.seconds_left is None else duration(binding.seconds_left),
        )
    more = len(bindings) - MOST_CLIENTS
    return [table, *([f"and {more} more (-o json has all)"] if more > 0 else [])]


def client_in_words(observation: Observation, binding: BoundClient) -> str:
    """Return a client with the pod or node whose address it has."""
    identity = observation.client(binding.client)
    names = {
        ClientKind.POD: f"pod {identity.name}",
        ClientKind.NODE: f"node {identity.name}",
        ClientKind.POD_RANGE: f"no pod, range of {identity.name}",
        ClientKind.OUTSIDE: "outside",
    }
    name = names.get(identity.kind)
    return f"{binding.client} ({name})" if name else binding.client


def _spread(observation: Observation) -> Iterator[str]:
    shares = spread_of(observation)
    places = list(dict.fromkeys((share.family, share.port) for share in shares))
    for place in places:
        of_place = sorted(
            (share for share in shares if (share.family, share.port) == place), key=lambda share: -share.clients
        )
        counts = [f"{share.endpoint.pod or share.endpoint.at} {share.clients}" for share in of_place]
        name = f"{' '.join(place)}: " if len(places) > 1 else ""
        yield f"{name}clients by endpoint: {listed(counts, MOST_ENDPOINTS)}"


def _room(observation: Observation) -> Iterator[str]:
    stores = [store for node in observation.nodes for store in node.stores if store.capacity]
    if stores:
        fullest = max(stores, key=lambda store: store.live / (store.capacity or 1))
        yield (
            f"the fullest {fullest.kind} has {fullest.live} of at most {fullest.capacity} clients"
            f" ({fullest.endpoint.pod or fullest.endpoint.at} on {fullest.node})"
        )


def _diagnoses(diagnoses: tuple[Diagnosis, ...]) -> Iterator[RenderableType]:
    for diagnosis in diagnoses:
        claims = f"  [{' '.join(diagnosis.claims)}]" if diagnosis.claims else ""
        yield Text.assemble(
            "\n", (f"{diagnosis.severity}: ", _COLOURS[diagnosis.severity]), (diagnosis.id, "bold"), claims
        )
        for line in (diagnosis.what, *(f"  {line}" for line in diagnosis.evidence), f"next: {diagnosis.next_step}"):
            yield Padding(Text(line), (0, 0, 0, 2))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
