"""What the API stores of a Service's affinity, what it refuses, and what it warns of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.errors import ClusterError
from session_affinity.kube.reply import NO_CONFIG
from session_affinity.verdicts.verdict import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from session_affinity.kube.reply import ApiAnswer, Reply

WHERE: Final = "the API"
OF_AFFINITY: Final = "sessionaffinity"
"""What a warning about affinity names, whatever its capitals: the API server writes spec.SessionAffinity."""


@dataclass(frozen=True)
class Refusal:
    """How a request is to be refused: the field that is named, and the reason given for it."""

    field: str
    reason: str


TIMEOUT_REFUSED: Final = Refusal("spec.sessionAffinityConfig.clientIP.timeoutSeconds", "FieldValueInvalid")
AFFINITY_REFUSED: Final = Refusal("spec.sessionAffinity", "FieldValueNotSupported")


def told(affinity: str, timeout_seconds: int | None) -> str:
    """Return an affinity as ``stored_affinity`` does; None is no timeout at all."""
    return f"{affinity}, {NO_CONFIG}" if timeout_seconds is None else f"{affinity}, {timeout_seconds} s"


def judge_stored(*asked: tuple[ApiAnswer, str, int | None]) -> Verdict:
    """Judge that each request was granted and stored with this affinity and timeout, None being no timeout at all."""
    findings = tuple(
        Finding(WHERE, told(affinity, seconds), one.stored, one.what)
        for one, affinity, seconds in asked
        if one.stored != told(affinity, seconds)
    )
    seen = "; ".join(dict.fromkeys(one.stored.splitlines()[0] for one, _, _ in asked))
    return Verdict(findings[0].seen.splitlines()[0] if findings else seen, findings)


def judge_refused(asked: Sequence[tuple[ApiAnswer, Refusal]]) -> Verdict:
    """Judge that each request was refused as invalid, for the sake of this field and no other."""
    findings = tuple(
        Finding(WHERE, f"422 Invalid\n{wanted.field}: {wanted.reason}", _refusal(one), one.what)
        for one, wanted in asked
        if not _refused_so(one.reply, wanted)
    )
    return Verdict(f"{len(asked) - len(findings)} of {len(asked)} refused, naming the field", findings)


def warns_of_headless(version: str) -> bool:
    """Return whether an API server warns that a headless Service's affinity is ignored: from 1.34.0 on.

    Source: pkg/api/service/warnings.go, GetWarningsForService.
    """
    return _numbers(version) >= (1, 34, 0)


def warns_without_reason(version: str) -> bool:
    """Return whether an API server is known to warn of an affinity that nobody set: 1.34.0 and 1.34.1 (k/k #134040)."""
    return (1, 34, 0) <= _numbers(version) < (1, 34, 2)


def judge_warnings(asked: Sequence[tuple[ApiAnswer, bool]], version: str) -> Verdict:
    """Judge that a warning about affinity came with each answer that calls for one, and with no other."""
    findings = tuple(_unwarned(asked, version))
    warned = sum(bool(affinity_warnings(one.reply)) for one, _ in asked)
    return Verdict(f"{warned} of {len(asked)} answers warn of affinity, API server {version}", findings)


def affinity_warnings(reply: Reply) -> tuple[str, ...]:
    """Return the warnings about affinity; others have other reasons."""
    return tuple(text for text in reply.warnings if OF_AFFINITY in text.lower())


def _unwarned(asked: Sequence[tuple[ApiAnswer, bool]], version: str) -> Iterator[Finding]:
    for one, wanted in asked:
        seen = affinity_warnings(one.reply)
        if not one.reply.ok:
            yield Finding(WHERE, "the Service is stored", one.reply.summary(), one.what)
        elif bool(seen) != wanted:
            expected = "a warning that affinity is ignored" if wanted else "no warning about affinity"
            yield Finding(WHERE, f"{expected}, by API server {version}", "; ".join(seen) or "no warning", one.what)


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    if found is None:
        raise ClusterError(f"the API server's version is {version!r}, which is none")
    return tuple(map(int, found.groups()))


def _refused_so(reply: Reply, wanted: Refusal) -> bool:
    named = {(cause.field, cause.reason) for cause in reply.causes}
    return (reply.status, reply.reason, named) == (422, "Invalid", {(wanted.field, wanted.reason)})


def _refusal(asked: ApiAnswer) -> str:
    return f"stored as {asked.stored}" if asked.reply.ok else asked.reply.summary()
