"""When a client is kept and when it is free, from the trials of the shared wait.

A probe that came at the wrong moment says nothing about the cluster: then there is no verdict but an UntimelyError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.errors import SuiteError
from session_affinity.experiment import FREE_TRIALS
from session_affinity.scenarios.expiry.trials import Contact
from session_affinity.verdicts.verdict import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.dataplane.model import ServiceState
    from session_affinity.scenarios.expiry.trials import Gap, Trial

EARLIEST_SECONDS: Final = 2.5
"""How long before the timeout a probe still shows that a client is kept until the timeout."""
LATEST_SECONDS: Final = 3.0
"""How long after the timeout a probe still shows that a client is free once it is over."""


class UntimelyError(SuiteError):
    """A probe did not come at its moment, so that it could not tell."""


@dataclass(frozen=True)
class Window:
    """The silence, in seconds, that a probe has to follow: more than ``low``, less than ``high``."""

    low: float
    high: float

    def holds(self, gap: Gap) -> bool:
        """Whether a gap is inside for certain."""
        return self.low < gap.low and gap.high < self.high

    def __str__(self) -> str:
        return f"{self.low:g} s to {self.high:g} s"


def just_before(timeout: float, deadline_scale: float = 1.0) -> Window:
    """Return when a client must still be kept."""
    return Window(timeout - min(EARLIEST_SECONDS * deadline_scale, timeout / 2), timeout)


def just_after(timeout: float, deadline_scale: float = 1.0) -> Window:
    """Return when a client must be free."""
    return Window(timeout, timeout + LATEST_SECONDS * deadline_scale)


def judge_kept(trials: Sequence[Trial], window: Window, *, since: Contact = Contact.LAST) -> Verdict:
    """Judge that no client moved although it was silent for as long as the window says, counted from a contact.

    Raises UntimelyError when most probes came at another moment.
    """
    if failed := _failed(trials):
        return failed
    timely = [one for one in trials if window.holds(one.silence(since))]
    if len(timely) * 2 < len(trials):
        raise _untimely(trials, window, since)
    moved = [one for one in timely if one.moved]
    headline = f"{'sticky' if not moved else 'moved'} at {_range(moved or timely, since)}, "
    headline += f"{len(timely) - len(moved)} of {len(timely)} stayed"
    findings = tuple(
        Finding(
            f"the client of {one.service.name}",
            f"answered by {one.contacts[Contact.LAST].endpoint} again after {one.silence(since)}",
            f"answered by {one.probe.endpoint}",
        )
        for one in moved
    )
    return Verdict(headline, findings, (moved or timely)[0].service, _records(moved))


def judge_free(trials: Sequence[Trial], window: Window, *, least: int = FREE_TRIALS) -> Verdict:
    """Judge that silent clients choose anew: of so many trials at least one moved.

    Raises UntimelyError when none moved and fewer than ``least`` probes came at their moment: too few to tell.
    """
    if failed := _failed(trials):
        return failed
    timely = [one for one in trials if window.holds(one.silence())]
    moved = [one for one in timely if one.moved]
    if not timely or (not moved and len(timely) < least):
        raise _untimely(trials, window, Contact.LAST)
    headline = (
        f"{'free' if moved else 'still bound'} at {_range(timely, Contact.LAST)}, {len(moved)} of {len(timely)} moved"
    )
    if moved:
        return Verdict(headline, service=moved[0].service)
    finding = Finding(
        "the client",
        f"at least one of {len(timely)} clients answered by another endpoint, the timeout being over",
        f"all answered by the endpoint they had; of free clients this has chance {_chance(timely):.1e}",
    )
    return Verdict(headline, (finding,), timely[0].service, _records(timely))


def judge_not_renewed_by_traffic(trials: Sequence[Trial], window: Window) -> Verdict:
    """Judge that requests on an open connection did not renew the client: its entry is unchanged, and it is free.

    Raises UntimelyError as ``judge_free`` does, and when a connection did not stay open.
    """
    closed = [one for one in trials if not one.reused and not one.failures]
    if closed or any(len(one.contacts) > 2 for one in trials):
        counts = ", ".join(str(len(one.contacts) - 1) for one in trials)
        raise UntimelyError(
            f"connections did not stay open: the clients opened {counts} before their probe, not one each",
            next_step="see whether the sample pods' server closes connections, and the client's curl is 7.88 or later",
        )
    renewed = [one for one in trials if one.renewed]
    free = judge_free(trials, window) if not renewed else None
    if free is not None and not free.ok:
        return free
    requests = sum(one.reused for one in trials)
    if free is not None:
        return Verdict(f"{free.headline}, after {requests} requests on open connections", service=free.service)
    findings = tuple(
        Finding(
            f"the client of {one.service.name}", "an entry as its connection left it", "an entry renewed since then"
        )
        for one in renewed
    )
    headline = f"{len(renewed)} of {len(trials)} entries were renewed by {requests} requests on open connections"
    return Verdict(headline, findings, renewed[0].service)


def _failed(trials: Sequence[Trial]) -> Verdict | None:
    failed = [one for one in trials if one.failures]
    if not failed:
        return None
    findings = tuple(
        Finding(f"the client of {one.service.name}", "every request answered", one.failures[0].error) for one in failed
    )
    return Verdict(f"{len(failed)} of {len(trials)} clients got no answer", findings, failed[0].service)


def _untimely(trials: Sequence[Trial], window: Window, since: Contact) -> UntimelyError:
    gaps = ", ".join(str(one.silence(since)) for one in trials)
    return UntimelyError(
        f"clients were to be silent for {window}, and were for {gaps}",
        next_step="see what kept the machine busy; on a slow one raise --deadline-scale",
    )


def _range(trials: Sequence[Trial], since: Contact) -> str:
    gaps = [one.silence(since) for one in trials]
    low, high = min(gap.low for gap in gaps), max(gap.high for gap in gaps)
    return f"{low:.2f} s" if high - low < 0.01 else f"{low:.2f}..{high:.2f} s"


def _chance(trials: Sequence[Trial]) -> float:
    chance = 1.0
    for one in trials:
        chance /= max(len(one.service.endpoints), 1)
    return chance


def _records(trials: Sequence[Trial]) -> tuple[str, ...]:
    def record(service: ServiceState, trial: Trial) -> str:
        who = ", ".join(str(answer.endpoint) for answer in trial.contacts)
        return f"{service.name} {service.cluster_ips[0]}: {who}; silent for {trial.silence()} before the last"

    return tuple(record(one.service, one) for one in trials[:6])
