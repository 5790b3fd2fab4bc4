"""Tables of what was seen, as CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from session_affinity.dataplane.backend import AffinityEntry, Backend
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot

MOST_ROWS = 300
_MEMORIES = ("node", "service", "endpoint", "client", "stamps", "age s", "timeout s", "state", "left s", "where")


def affinity_stores(
    backend: Backend,
    services: Iterable[ServiceState],
    states: Mapping[str, NodeSnapshot],
    hz: Mapping[str, int],
) -> str:
    """Return whom nodes remember for Services, with ages on the node's own clock; empty where they remember no one.

    ``hz`` is the tick rate of each node whose clock is known.
    """
    rows = [
        row
        for service in services
        for name, state in states.items()
        for row in _rows(backend, service, state, hz.get(name))
    ]
    return table(_MEMORIES, rows) if rows else ""


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as CSV, the first few hundred of many and how many there are."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows[:MOST_ROWS])
    if len(rows) > MOST_ROWS:
        writer.writerow((f"and {len(rows) - MOST_ROWS} more", *[""] * (len(head) - 1)))
    return written.getvalue()


def _rows(backend: Backend, service: ServiceState, state: NodeSnapshot, hz: int | None) -> Iterator[tuple[object, ...]]:
    timeout = service.timeout_seconds
    remembered = backend.affinity_entries(state, service, hz)
    for one in remembered:
        pod = one.endpoint.pod or one.endpoint.at
        stamps = len(one.stamps) if one.entry else ""
        yield (state.node, service.name, pod, one.client, stamps, *_moment(one, timeout or 0), one.store)
    holding = {one.store for one in remembered}
    endpoints = backend.affinity_stores(service)
    empty = [endpoints[name] for name in backend.existing_stores(state, service) if name not in holding]
    if empty:
        pods = " ".join(one.pod or one.at for one in empty)
        yield (state.node, service.name, pods, "", "", "", timeout or "", f"{backend.store_kind} empty", "", "")


def _moment(one: AffinityEntry, timeout: int) -> tuple[object, ...]:
    """Return age, timeout, state and what is left, as far as the node's clock is known."""
    left = one.seconds_left
    if left is None:
        return ("clock unknown", timeout, "", "")
    # More left than the timeout: it was patched after the client's last connection.
    age = f"{timeout - left:.2f}" if left <= timeout else ""
    return (age, timeout, "live" if one.is_live else "expired", f"{max(left, 0.0):.2f}")
