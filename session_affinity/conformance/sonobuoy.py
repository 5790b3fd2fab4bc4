"""A conformance report in Sonobuoy's manual results format, and the progress of a run as its workers take it.

The format is a tree of items with name, status, metadata and details (pkg/client/results/item.go). Sonobuoy knows the
statuses passed, failed, skipped and unknown; it counts others, such as ``undetermined``, by their own names
(pkg/client/results/processing.go, AggregateStatus), so that they are never taken for passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from session_affinity.conformance.result import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME: Final = "session-affinity"
"""The name of the plugin and of the root of its results."""


def results(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the root item: a branch for each subject, a leaf for each claim."""
    by_subject: dict[str, list[dict[str, Any]]] = {}
    for claim in document["claims"]:
        by_subject.setdefault(claim["subject"], []).append(_item(claim))
    branches = [
        {"name": subject, "status": status_of([item["status"] for item in items]), "items": items}
        for subject, items in by_subject.items()
    ]
    return {
        "name": NAME,
        "status": status_of([claim["result"] for claim in document["claims"]]),
        "meta": {"suite": document["suite"]["version"], "catalogue": document["suite"]["catalogueDigest"]},
        "items": branches,
    }


def status_of(outcomes: Sequence[str]) -> str:
    """Return the status of a branch, the gravest of its claims': failed, undetermined, differs, passed or skipped."""
    order = (Outcome.FAILED, Outcome.UNDETERMINED, Outcome.DIFFERS, Outcome.PASSED, Outcome.SKIPPED)
    return str(next((outcome for outcome in order if outcome in outcomes), Outcome.SKIPPED))


def progress(message: str, completed: int, total: int, failures: Sequence[str]) -> dict[str, Any]:
    """Return an update of the progress (pkg/plugin/interface.go, ProgressUpdate)."""
    return {"msg": message, "completed": completed, "total": total, "failures": list(failures)}


def _item(claim: Mapping[str, Any]) -> dict[str, Any]:
    details = {name: claim[name] for name in ("headline", "message", "reason", "link") if claim.get(name)}
    return {
        "name": f"{claim['id']} {claim['title']}",
        "status": claim["result"],
        "meta": {"claim": claim["id"], "promisedBy": claim["promisedBy"]},
        **({"details": details} if details else {}),
    }
