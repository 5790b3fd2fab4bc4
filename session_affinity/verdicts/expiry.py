"""When a client is kept and when it is free, from the trials of the shared wait.

A probe that came at the wrong moment is no evidence about the cluster: judges raise UntimelyError instead of a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.errors import SuiteError
from session_affinity.experiment import FREE_TRIALS
from session_affinity.scenarios.expiry.trials import Contact
from session_affinity.verdicts.verdict import Finding, Verdict, require_observed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.scenarios.expiry.trials import Gap, Trial

EARLIEST_SECONDS: Final = 4.0
"""How long before the timeout a probe still shows that a client is kept until the timeout."""
LATEST_SECONDS: Final = 3.0
"""How long after the timeout a probe still shows that a client is free once it is over."""


class UntimelyError(SuiteError):
    """A probe or a read did not come at its moment, so nothing can be judged from it."""


@dataclass(frozen=True)
class Window:
    """The silence, in seconds, that a probe must follow: more than ``low``, less than ``high``."""

    low: float
    high: float

    def contains(self, gap: Gap) -> bool:
        """Whether a gap is inside for certain."""
        return self.low < gap.low and gap.high < self.high

    def __str__(self) -> str:
        return f"{self.low:g} s to {self.high:g} s"


def just_before(timeout: float, deadline_scale: float = 1.0) -> Window:
    """Return the window in which a client must still be kept."""
    return Window(timeout - min(EARLIEST_SECONDS * deadline_scale, timeout / 2), timeout)


def just_after(timeout: float, deadline_scale: float = 1.0) -> Window:
    """Return the window in which a client must be free."""
    return Window(timeout, timeout + LATEST_SECONDS * deadline_scale)


def after_traffic(timeout: float) -> Window:
    """Return when a silent client is free unless requests on an open connection renewed it.

    They go on for two thirds of the timeout at least, so they would keep it bound for the whole window.
    """
    return Window(timeout, 1.5 * timeout)


def judge_kept(trials: Sequence[Trial], window: Window, *, since: Contact = Contact.LAST) -> Verdict:
    """Judge that no client moved although it was silent for as long as the window says, counted from a contact.

    Raises NothingObservedError without trials that have this contact, and UntimelyError when most probes came at
    another moment.
    """
    _require_contacts(trials, since)
    if failed := _failed(trials):
        return failed
    timely = [trial for trial in trials if window.contains(trial.silence(since))]
    if len(timely) * 2 < len(trials):
        raise _untimely(trials, window, since)
    moved = [trial for trial in timely if trial.moved]
    headline = f"{'sticky' if not moved else 'moved'} at {_range(moved or timely, since)}, "
    headline += f"{len(timely) - len(moved)} of {len(timely)} stayed"
    findings = tuple(
        Finding(
            f"the client of {trial.name}",
            f"answered by {trial.contacts[Contact.LAST].endpoint} again after {trial.silence(since)}",
            f"answered by {trial.probe.endpoint}",
        )
        for trial in moved
    )
    return Verdict(headline, findings, (moved or timely)[0].service, _records(moved))


def judge_renewed(trials: Sequence[Trial], timeout: float) -> Verdict:
    """Judge that a contact renewed clients: none moved, the timeout being over since the contact before it alone.

    Raises NothingObservedError and UntimelyError as ``judge_kept`` does.
    """
    _require_contacts(trials, Contact.BEFORE_RENEWAL)
    if failed := _failed(trials):
        return failed
    bound = [trial for trial in trials if trial.silence().high < timeout]
    if len(bound) * 2 < len(trials):
        raise _untimely(trials, Window(0, timeout), Contact.LAST)
    return judge_kept(bound, Window(timeout, 2 * timeout), since=Contact.BEFORE_RENEWAL)


def judge_free(trials: Sequence[Trial], window: Window, *, least: int = FREE_TRIALS) -> Verdict:
    """Judge that silent clients choose anew: of so many trials at least one moved.

    Raises NothingObservedError without trials, and UntimelyError when none moved and fewer than ``least`` probes came
    at their moment: too few for a verdict.
    """
    _require_contacts(trials)
    if failed := _failed(trials):
        return failed
    timely = [trial for trial in trials if window.contains(trial.silence())]
    moved = [trial for trial in timely if trial.moved]
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
        f"all answered by the endpoint they had; for free clients this has chance {_chance(timely):.1e}",
    )
    return Verdict(headline, (finding,), timely[0].service, _records(timely))


def judge_no_renewal_by_traffic(trials: Sequence[Trial], window: Window) -> Verdict:
    """Judge that requests on an open connection did not renew the client: its entry is unchanged, and it is free.

    Raises NothingObservedError and UntimelyError as ``judge_free`` does, and UntimelyError when a connection did not
    stay open.
    """
    _require_contacts(trials)
    closed = [trial for trial in trials if not trial.reused and not trial.failures]
    if closed or any(len(trial.contacts) > 2 for trial in trials):
        counts = ", ".join(str(len(trial.contacts) - 1) for trial in trials)
        raise UntimelyError(
            f"connections did not stay open: the clients opened {counts} before their probe, not one each",
            next_step="see whether the sample pods' server closes connections, and the client's curl is 7.88 or later",
        )
    renewed = [trial for trial in trials if trial.renewed]
    free = judge_free(trials, window) if not renewed else None
    if free is not None and not free.ok:
        return free
    requests = sum(trial.reused for trial in trials)
    if free is not None:
        return Verdict(f"{free.headline}, after {requests} requests on open connections", service=free.service)
    findings = tuple(
        Finding(f"the client of {trial.name}", "an entry as its connection left it", "an entry renewed since then")
        for trial in renewed
    )
    headline = f"{len(renewed)} of {len(trials)} entries were renewed by {requests} requests on open connections"
    return Verdict(headline, findings, renewed[0].service)


def _require_contacts(trials: Sequence[Trial], since: Contact = Contact.LAST) -> None:
    """Raise NothingObservedError without trials, and for one that has no contact to count its silence from."""
    require_observed(trials, "trials of the shared wait")
    for trial in trials:
        if not trial.failures:
            require_observed(trial.contacts[: since + 1], f"contacts of the client of {trial.name} before its probe")


def _failed(trials: Sequence[Trial]) -> Verdict | None:
    failed = [trial for trial in trials if trial.failures]
    if not failed:
        return None
    findings = tuple(
        Finding(f"the client of {trial.name}", "every request answered", trial.failures[0].error) for trial in failed
    )
    return Verdict(f"{len(failed)} of {len(trials)} clients got no answer", findings, failed[0].service)


def _untimely(trials: Sequence[Trial], window: Window, since: Contact) -> UntimelyError:
    gaps = ", ".join(str(trial.silence(since)) for trial in trials)
    return UntimelyError(
        f"clients were to be silent for {window}, and were silent for {gaps}",
        next_step="see what kept the machine busy; on a slow one raise --deadline-scale",
    )


def _range(trials: Sequence[Trial], since: Contact) -> str:
    gaps = [trial.silence(since) for trial in trials]
    low, high = min(gap.low for gap in gaps), max(gap.high for gap in gaps)
    return f"{low:.2f} s" if high - low < 0.01 else f"{low:.2f}..{high:.2f} s"


def _chance(trials: Sequence[Trial]) -> float:
    chance = 1.0
    for trial in trials:
        chance /= max(len(trial.service.endpoints), 1)
    return chance


def _records(trials: Sequence[Trial]) -> tuple[str, ...]:
    def record(trial: Trial) -> str:
        pods = ", ".join(str(answer.endpoint) for answer in trial.contacts)
        address = trial.service.cluster_ips[0]
        return f"{trial.name} {address}: {pods}; silent for {trial.silence()} before the last"

    return tuple(map(record, trials[:6]))
