"""The verdict of a run in one line, such as for a pod's termination message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from session_affinity.conformance.exit_codes import ExitCode
from session_affinity.conformance.result import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

VERDICTS: Final = {
    ExitCode.HOLDS: "holds",
    ExitCode.VIOLATED: "violated",
    ExitCode.INTERRUPTED: "interrupted",
    ExitCode.INTERNAL_ERROR: "undetermined: the suite failed",
    ExitCode.USAGE: "not run: unusable options",
    ExitCode.NOTHING_COLLECTED: "not run: no claim is selected",
    ExitCode.UNDETERMINED: "undetermined",
    ExitCode.NOTHING_JUDGED: "nothing judged",
}
_MOST_CLAIMS: Final = 40
_NAMED: Final = (Outcome.FAILED, Outcome.UNDETERMINED, Outcome.DIFFERS)


def verdict_line(code: int, document: Mapping[str, Any] | None) -> str:
    """Return exit code and conformance report of a run as a line; without a report the log says why there is none."""
    try:
        verdict = VERDICTS[ExitCode(code)]
    except ValueError:
        verdict = f"undetermined: exit code {code}"
    if document is None:
        return f"{verdict}; the log says why"
    counts = ", ".join(f"{count} {outcome}" for outcome, count in document["summary"].items() if count)
    named = [f"{outcome}: {ids}" for outcome in _NAMED if (ids := _ids(document, outcome))]
    cluster, nodes = document["cluster"], document["cluster"]["nodes"]
    where = (
        f"Kubernetes {cluster['kubernetes']}, kube-proxy {cluster['proxyMode']},"
        f" {nodes['judged']} of {nodes['total']} nodes, suite {document['suite']['version']}"
    )
    return "; ".join((f"{verdict}: {counts}", *named, where))


def _ids(document: Mapping[str, Any], outcome: Outcome) -> str:
    ids = [claim["id"] for claim in document["claims"] if claim["result"] == outcome]
    more = f" and {len(ids) - _MOST_CLAIMS} more" if len(ids) > _MOST_CLAIMS else ""
    return " ".join(ids[:_MOST_CLAIMS]) + more
