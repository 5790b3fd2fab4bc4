"""Server-side apply: which field manager owns the fields of a Service's affinity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_affinity.kube.reply import affinity_text
from session_affinity.verdicts.api_fields import WHERE
from session_affinity.verdicts.verdict import Finding, Verdict, require_observed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from session_affinity.kube.reply import ApiAnswer

TIMEOUT_PATH: Final = ".spec.sessionAffinityConfig.clientIP.timeoutSeconds"
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "sessionAffinity": ("f:spec", "f:sessionAffinity"),
    "timeoutSeconds": ("f:spec", "f:sessionAffinityConfig", "f:clientIP", "f:timeoutSeconds"),
}
"""The fields of affinity as managedFields has them."""


@dataclass(frozen=True)
class ApplyConflict:
    """Two managers of one Service: the first sets affinity and timeout, the second changes the timeout by force.

    ``refused`` is the second's attempt without force, ``kept`` the Service after it, ``forced`` the attempt with force.
    ``managers`` and ``timeouts`` are those of the first and the second.
    """

    first: ApiAnswer
    refused: ApiAnswer
    kept: ApiAnswer
    forced: ApiAnswer
    managers: tuple[str, str]
    timeouts: tuple[int, int]


def owners(service: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """Return the managers that own a field of ``FIELDS`` by apply, sorted."""
    entries = (service.get("metadata") or {}).get("managedFields") or ()
    return tuple(
        sorted(
            str(entry["manager"])
            for entry in entries
            if entry.get("operation") == "Apply" and _has_field(entry.get("fieldsV1") or {}, FIELDS[field])
        )
    )


def judge_apply_conflict(conflict: ApplyConflict) -> Verdict:
    """Judge that apply stores the affinity and that a second manager needs force to change the timeout, and only it.

    Raises NothingObservedError without managers or timeouts to compare.
    """
    require_observed([*filter(None, conflict.managers)], "field managers of a Service")
    findings = tuple(_findings(conflict))
    first, second = conflict.managers
    headline = f"{second} conflicts with {first} over timeoutSeconds, and takes it by force"
    return Verdict(headline if not findings else findings[0].what, findings)


def _findings(conflict: ApplyConflict) -> Iterator[Finding]:
    (first, second), (first_timeout, second_timeout) = conflict.managers, conflict.timeouts
    steps = (
        (conflict.first, first_timeout, {"sessionAffinity": (first,), "timeoutSeconds": (first,)}),
        (conflict.kept, first_timeout, {"sessionAffinity": (first,), "timeoutSeconds": (first,)}),
        (conflict.forced, second_timeout, {"sessionAffinity": (first,), "timeoutSeconds": (second,)}),
    )
    for answer, seconds, expected_owners in steps:
        affinity = affinity_text("ClientIP", seconds)
        if answer.stored != affinity:
            yield Finding(WHERE, affinity, answer.stored, answer.what)
            continue
        seen = {field: owners(answer.reply.body, field) for field in expected_owners}
        if seen != expected_owners:
            yield Finding(WHERE, _owners_text(expected_owners), _owners_text(seen), answer.what)
    reply = conflict.refused.reply
    causes = {(cause.field, cause.reason) for cause in reply.causes}
    if (reply.status, causes) != (409, {(TIMEOUT_PATH, "FieldManagerConflict")}) or first not in reply.message:
        expected = f"409 Conflict with {first}\n{TIMEOUT_PATH}: FieldManagerConflict"
        seen_reply = f"stored as {conflict.refused.stored}" if reply.ok else reply.summary()
        yield Finding(WHERE, expected, seen_reply, conflict.refused.what)


def _has_field(fields: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    for name in path:
        if name not in fields:
            return False
        fields = fields[name]
    return True


def _owners_text(owners_by_field: Mapping[str, tuple[str, ...]]) -> str:
    lines = (f"{field} owned by {', '.join(names) or 'no manager'}" for field, names in owners_by_field.items())
    return "\n".join(lines)
