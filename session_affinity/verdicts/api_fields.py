"""What the API stores for a Service's affinity, what it refuses, and which warnings it returns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.errors import ClusterError
from session_affinity.kube.reply import affinity_text
from session_affinity.verdicts.verdict import Finding, Verdict, require_observed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from session_affinity.kube.reply import ApiAnswer, Reply

WHERE: Final = "the API"
OF_AFFINITY: Final = "sessionaffinity"
"""What a warning about affinity names, whatever its capitals: the API server writes spec.SessionAffinity."""


@dataclass(frozen=True)
class Refusal:
    """How the API is to refuse a request: the field that it names, and the reason that it gives."""

    field: str
    reason: str


TIMEOUT_REFUSED: Final = Refusal("spec.sessionAffinityConfig.clientIP.timeoutSeconds", "FieldValueInvalid")
AFFINITY_REFUSED: Final = Refusal("spec.sessionAffinity", "FieldValueNotSupported")


def judge_stored_affinity(*requests: tuple[ApiAnswer, str, int | None]) -> Verdict:
    """Judge that each request was granted and stored with its affinity and timeout.

    A request has its answer, the affinity and the timeout in seconds; None stands for no configuration at all.
    """
    require_observed(requests, "requests to store a Service")
    findings = tuple(
        Finding(WHERE, affinity_text(affinity, seconds), answer.stored, answer.what)
        for answer, affinity, seconds in requests
        if answer.stored != affinity_text(affinity, seconds)
    )
    seen = "; ".join(dict.fromkeys(answer.stored.splitlines()[0] for answer, _, _ in requests))
    return Verdict(findings[0].seen.splitlines()[0] if findings else seen, findings)


def judge_refusals(requests: Sequence[tuple[ApiAnswer, Refusal]]) -> Verdict:
    """Judge that each request was refused as invalid, because of its field and no other."""
    require_observed(requests, "requests that the API is to refuse")
    findings = tuple(
        Finding(WHERE, f"422 Invalid\n{refusal.field}: {refusal.reason}", _outcome(answer), answer.what)
        for answer, refusal in requests
        if not _is_refused_by(answer.reply, refusal)
    )
    return Verdict(f"{len(requests) - len(findings)} of {len(requests)} refused, naming the field", findings)


def warns_of_headless(version: str) -> bool:
    """Return whether an API server warns that a headless Service's affinity is ignored: from 1.34.0 on.

    Source: pkg/api/service/warnings.go, GetWarningsForService.
    """
    return _numbers(version) >= (1, 34, 0)


def warns_without_reason(version: str) -> bool:
    """Return whether an API server warns about an affinity that was not set: 1.34.0 and 1.34.1 do (k/k #134040)."""
    return (1, 34, 0) <= _numbers(version) < (1, 34, 2)


def judge_warnings(requests: Sequence[tuple[ApiAnswer, bool]], version: str) -> Verdict:
    """Judge that just those answers that are to warn about affinity did; ``version`` is the API server's."""
    require_observed(requests, "answers that may have warnings")
    findings = tuple(_wrong_warnings(requests, version))
    warnings = sum(bool(affinity_warnings(answer.reply)) for answer, _ in requests)
    return Verdict(f"{warnings} of {len(requests)} answers warn of affinity, API server {version}", findings)


def affinity_warnings(reply: Reply) -> tuple[str, ...]:
    """Return the warnings about affinity; other warnings have other reasons."""
    return tuple(text for text in reply.warnings if OF_AFFINITY in text.lower())


def _wrong_warnings(requests: Sequence[tuple[ApiAnswer, bool]], version: str) -> Iterator[Finding]:
    for answer, is_to_warn in requests:
        seen = affinity_warnings(answer.reply)
        if not answer.reply.ok:
            yield Finding(WHERE, "the Service is stored", answer.reply.summary(), answer.what)
        elif bool(seen) != is_to_warn:
            expected = "a warning that affinity is ignored" if is_to_warn else "no warning about affinity"
            yield Finding(WHERE, f"{expected}, by API server {version}", "; ".join(seen) or "no warning", answer.what)


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    if match is None:
        raise ClusterError(f"the API server reports the version {version!r}, which is not of the form v1.37.2")
    return tuple(map(int, match.groups()))


def _is_refused_by(reply: Reply, refusal: Refusal) -> bool:
    causes = {(cause.field, cause.reason) for cause in reply.causes}
    return (reply.status, reply.reason, causes) == (422, "Invalid", {(refusal.field, refusal.reason)})


def _outcome(answer: ApiAnswer) -> str:
    return f"stored as {answer.stored}" if answer.reply.ok else answer.reply.summary()
