"""What the API stores of a Service's affinity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from affinity.verdicts.verdict import Finding, Verdict

if TYPE_CHECKING:
    from affinity.dataplane.model import ServiceState


def judge_stored(claim: str, service: ServiceState, affinity: str, timeout_seconds: int | None) -> Verdict:
    """Judge that a Service was stored with this affinity and timeout, None being no timeout at all."""
    seen = _told(service.session_affinity, service.timeout_seconds)
    expected = _told(affinity, timeout_seconds)
    findings = () if seen == expected else (Finding("the API", expected, seen),)
    return Verdict(claim, seen, findings, service)


def _told(affinity: str, timeout_seconds: int | None) -> str:
    return affinity if timeout_seconds is None else f"{affinity}, {timeout_seconds} s"
