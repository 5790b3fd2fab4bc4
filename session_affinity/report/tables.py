"""Tables of observations, as CSV."""

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
_ENTRIES = ("node", "service", "endpoint", "client", "stamps", "age s", "timeout s", "state", "left s", "store")


def affinity_stores(
    backend: Backend,
    services: Iterable[ServiceState],
    states: Mapping[str, NodeSnapshot],
    hz: Mapping[str, int],
) -> str:
    """Return the affinity entries of nodes for Services, and the empty stores; empty where nodes have neither.

    Ages are those on the node's own clock; ``hz`` is the tick rate of each node whose clock is known.
    """
    rows = [
        row
        for service in services
        for name, state in states.items()
        for row in _rows(backend, service, state, hz.get(name))
    ]
    return table(_ENTRIES, rows) if rows else ""


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as CSV: the first 300, and a last row with the number of those left out."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows[:MOST_ROWS])
    if len(rows) > MOST_ROWS:
        writer.writerow((f"and {len(rows) - MOST_ROWS} more", *[""] * (len(head) - 1)))
    return written.getvalue()


def _rows(backend: Backend, service: ServiceState, state: NodeSnapshot, hz: int | None) -> Iterator[tuple[object, ...]]:
    timeout = service.timeout_seconds
    entries = backend.affinity_entries(state, service, hz)
    for entry in entries:
        pod = entry.endpoint.pod or entry.endpoint.at
        stamps = len(entry.stamps) if entry.entry else ""
        yield (state.node, service.name, pod, entry.client, stamps, *_age_columns(entry, timeout or 0), entry.store)
    used = {entry.store for entry in entries}
    endpoints = backend.affinity_stores(service)
    empty = [endpoints[name] for name in backend.existing_stores(state, service) if name not in used]
    if empty:
        pods = " ".join(endpoint.pod or endpoint.at for endpoint in empty)
        yield (state.node, service.name, pods, "", "", "", timeout or "", f"{backend.store_kind} empty", "", "")


def _age_columns(entry: AffinityEntry, timeout: int) -> tuple[object, ...]:
    """Return age, timeout, state and remaining seconds, as far as the node's clock is known."""
    left = entry.seconds_left
    if left is None:
        return ("clock unknown", timeout, "", "")
    # More seconds left than the timeout has: it was patched after the client's last connection.
    age = f"{timeout - left:.2f}" if left <= timeout else ""
    return (age, timeout, "live" if entry.is_live else "expired", f"{max(left, 0.0):.2f}")
