"""Server-side apply: whose the fields of a Service's affinity are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_affinity.verdicts.api_fields import WHERE
from session_affinity.verdicts.verdict import Finding, Verdict

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
class Applied:
    """Two managers of one Service: the first sets affinity and timeout, the second wants another timeout, and takes it.

    ``refused`` is the second's attempt without force, ``kept`` the Service after it.
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
            if entry.get("operation") == "Apply" and _holds(entry.get("fieldsV1") or {}, FIELDS[field])
        )
    )


def judge_applied(applied: Applied) -> Verdict:
    """Judge that apply stores the affinity, another's conflicts over the timeout alone, and takes it by force."""
    findings = tuple(_findings(applied))
    first, second = applied.managers
    headline = f"{second} conflicts with {first} over timeoutSeconds, and takes it by force"
    return Verdict(headline if not findings else findings[0].what, findings)


def _findings(applied: Applied) -> Iterator[Finding]:
    (first, second), (given, taken) = applied.managers, applied.timeouts
    steps = (
        (applied.first, given, {"sessionAffinity": (first,), "timeoutSeconds": (first,)}),
        (applied.kept, given, {"sessionAffinity": (first,), "timeoutSeconds": (first,)}),
        (applied.forced, taken, {"sessionAffinity": (first,), "timeoutSeconds": (second,)}),
    )
    for asked, seconds, owned in steps:
        wanted = f"ClientIP, {seconds} s"
        if asked.stored != wanted:
            yield Finding(WHERE, wanted, asked.stored, asked.what)
            continue
        seen = {field: owners(asked.reply.body, field) for field in owned}
        if seen != owned:
            yield Finding(WHERE, _owned(owned), _owned(seen), asked.what)
    reply = applied.refused.reply
    named = {(cause.field, cause.reason) for cause in reply.causes}
    if (reply.status, named) != (409, {(TIMEOUT_PATH, "FieldManagerConflict")}) or first not in reply.message:
        expected = f"409 Conflict with {first}\n{TIMEOUT_PATH}: FieldManagerConflict"
        seen_reply = f"stored as {applied.refused.stored}" if reply.ok else reply.summary()
        yield Finding(WHERE, expected, seen_reply, applied.refused.what)


def _holds(fields: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    for name in path:
        if name not in fields:
            return False
        fields = fields[name]
    return True


def _owned(owned: Mapping[str, tuple[str, ...]]) -> str:
    return "\n".join(f"{field} owned by {', '.join(names) or 'no one'}" for field, names in owned.items())
