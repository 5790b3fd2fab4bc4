"""When a client is kept and when it is free, from the trials of the shared wait.

A probe that came at the wrong moment says nothing about the cluster: then there is no verdict but an UntimelyError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from affinity.claims import FREE_TRIALS
from affinity.dataplane.plug import of_client
from affinity.dataplane.plugs import IPTABLES, NFTABLES
from affinity.errors import SuiteError
from affinity.verdicts.verdict import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from affinity.dataplane.model import ServiceState
    from affinity.dataplane.plug import Dataplane, Remembered
    from affinity.expiry.trials import Gap, Trial
    from affinity.expiry.wait import Departure, Patch, Rest
    from affinity.traffic.answers import Answer

EARLIEST_SECONDS: Final = 2.5
"""How long before the timeout a probe still shows that a client is kept until the timeout."""
LATEST_SECONDS: Final = 3.0
"""How long after the timeout a probe still shows that a client is free once it is over."""
READ_SECONDS: Final = 1.0
"""How long reading a node may go on after its clock was read, on a machine that is not slow."""

_SHOWN: Final = 4


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


def just_before(timeout: float, slowness: float = 1.0) -> Window:
    """Return when a client must still be kept."""
    return Window(timeout - min(EARLIEST_SECONDS * slowness, timeout / 2), timeout)


def just_after(timeout: float, slowness: float = 1.0) -> Window:
    """Return when a client must be free."""
    return Window(timeout, timeout + LATEST_SECONDS * slowness)


def judge_kept(claim: str, trials: Sequence[Trial], window: Window, *, since: int = -2) -> Verdict:
    """Judge that no client moved although it was silent for as long as the window says, counted from a contact.

    Raises UntimelyError when most probes came at another moment.
    """
    if failed := _failed(claim, trials):
        return failed
    timely = [one for one in trials if window.holds(one.silence(since))]
    if len(timely) * 2 < len(trials):
        raise _untimely(claim, trials, window, since)
    moved = [one for one in timely if one.moved]
    figure = f"{'sticky' if not moved else 'moved'} at {_range(moved or timely, since)}, "
    figure += f"{len(timely) - len(moved)} of {len(timely)} stayed"
    findings = tuple(
        Finding(
            f"the client of {one.service.name}",
            f"answered by {one.contacts[-2].endpoint} again after {one.silence(since)}",
            f"answered by {one.probe.endpoint}",
        )
        for one in moved
    )
    return Verdict(claim, figure, findings, (moved or timely)[0].service, _records(moved))


def judge_free(claim: str, trials: Sequence[Trial], window: Window) -> Verdict:
    """Judge that silent clients choose anew: of so many trials at least one moved.

    Raises UntimelyError when none moved and too few probes came at their moment to tell.
    """
    if failed := _failed(claim, trials):
        return failed
    timely = [one for one in trials if window.holds(one.silence())]
    moved = [one for one in timely if one.moved]
    if not timely or (not moved and len(timely) < FREE_TRIALS):
        raise _untimely(claim, trials, window, -2)
    figure = f"{'free' if moved else 'still bound'} at {_range(timely, -2)}, {len(moved)} of {len(timely)} moved"
    if moved:
        return Verdict(claim, figure, service=moved[0].service)
    finding = Finding(
        "the client",
        f"at least one of {len(timely)} clients answered by another endpoint, the timeout being over",
        f"all answered by the endpoint they had; of free clients this has chance {_chance(timely):.1e}",
    )
    return Verdict(claim, figure, (finding,), timely[0].service, _records(timely))


def judge_not_renewed_by_traffic(claim: str, trials: Sequence[Trial], window: Window) -> Verdict:
    """Judge that requests on an open connection did not renew the client: its entry is unchanged, and it is free.

    Raises UntimelyError as ``judge_free`` does, and when a connection did not stay open.
    """
    closed = [one for one in trials if not one.reused and not one.failures]
    if closed or any(len(one.contacts) > 2 for one in trials):
        counts = ", ".join(str(len(one.contacts) - 1) for one in trials)
        raise UntimelyError(
            f"{claim}: connections did not stay open: the clients opened {counts} before their probe, not one each",
            next_step="see whether the sample pods' server closes connections, and the client's curl is 7.88 or later",
        )
    renewed = [one for one in trials if one.renewed]
    free = judge_free(claim, trials, window) if not renewed else None
    if free is not None and not free.ok:
        return free
    requests = sum(one.reused for one in trials)
    if free is not None:
        return Verdict(claim, f"{free.figure}, after {requests} requests on open connections", service=free.service)
    findings = tuple(
        Finding(
            f"the client of {one.service.name}", "an entry as its connection left it", "an entry renewed since then"
        )
        for one in renewed
    )
    figure = f"{len(renewed)} of {len(trials)} entries were renewed by {requests} requests on open connections"
    return Verdict(claim, figure, findings, renewed[0].service)


def judge_patch(dataplane: Dataplane, patch: Patch, address: str, node: str) -> Verdict:
    """Judge that the patched timeout is programmed on every node, and that the client's entries outlived the patch."""
    findings = [_not_reached(patch, name, services) for name, services in patch.after.late.items()]
    kept = 0
    for service in patch.services:
        before = _places(of_client(dataplane.remembered(patch.before[node], service), address))
        after = _places(of_client(dataplane.remembered(patch.after.states[node], service), address))
        kept += bool(before) and before == after
        if before != after or not before:
            seen, was = (", ".join(places) or f"no {dataplane.memory}" for places in (after, before))
            findings.append(
                Finding(node, f"{address} in {was}, as before", f"in {seen}, {len(after)} entries", service.key)
            )
    findings += [
        Finding(
            name, "the rules of every Service as patched, when the timeout is over", "\n".join(map(str, later[:_SHOWN]))
        )
        for name, later in patch.later.items()
        if later and name not in patch.after.late
    ]
    nodes, programmed = len(patch.after.differences), len(patch.after.seconds)
    figure = (
        f"{patch.services[0].timeout_seconds} s on {programmed} of {nodes} nodes, "
        f"{kept} of {len(patch.services)} entries kept"
    )
    background = (f"read {patch.after.waited:.1f} s after the patch; programmed: {patch.after.latency()}",)
    return Verdict("C22", figure, tuple(findings), patch.services[0], background)


def judge_inert(rest: Rest, address: str, hz: int) -> Verdict:
    """Judge that expired entries are still listed, and that their clients choose anew all the same.

    Raises UntimelyError when an entry was not yet that old.
    """
    clock, node = rest.at_end.clock(hz), rest.at_end.node
    findings: list[Finding] = []
    ages: list[float] = []
    moved = 0
    for service, first, probe in zip(rest.services, rest.first, rest.probes, strict=True):
        entries = of_client(IPTABLES.remembered(rest.at_end, service, hz), address)
        ages += [one.entry.age(clock) for one in entries if one.entry]
        if len(entries) != 1:
            findings.append(Finding(node, f"the entry of {address}", f"{len(entries)} entries", service.key))
        findings += _unanswered(service, first, probe)
        moved += first.endpoint != probe.endpoint
    timeout = rest.services[0].timeout_seconds or 0
    if ages and min(ages) <= timeout:
        raise UntimelyError(f"C25: an entry was read {min(ages):.2f} s after its last connection, before {timeout} s")
    if not moved:
        expected = f"at least one of {len(rest.services)} clients answered by another endpoint"
        findings.append(Finding("the client", expected, "all answered by the endpoint of their expired entry"))
    figure = f"{len(ages)} listed {min(ages, default=0):.2f} s after, {moved} of {len(rest.services)} moved"
    return Verdict("C25", figure, tuple(findings), rest.services[0])


def judge_old_expiry(rest: Rest, address: str) -> Verdict:
    """Judge that elements from before a patch kept their expiry and their clients, until the next connection.

    Raises UntimelyError when the patched timeout was not over yet, so that it could not tell.
    """
    node, timeout = rest.at_end.node, rest.services[0].timeout_seconds or 0
    findings: list[Finding] = []
    old: list[float] = []
    new: list[float] = []
    for service, first, probe in zip(rest.services, rest.first, rest.probes, strict=True):
        silent = (rest.at_end.uptime or 0.0) - (first.not_after or 0.0)
        if silent <= timeout:
            raise UntimelyError(f"C22n: nodes were read {silent:.2f} s after the first request, before {timeout} s")
        kept = of_client(NFTABLES.remembered(rest.at_end, service), address)
        renewed = of_client(NFTABLES.remembered(rest.probed, service), address) if rest.probed else ()
        old += (here := [one.seconds_left for one in kept if one.seconds_left is not None])
        new += (then := [one.seconds_left for one in renewed if one.seconds_left is not None])
        if len(here) != 1 or here[0] <= timeout:
            expected = f"one element of {address} with more than {timeout} s left, from before the patch"
            findings.append(Finding(node, expected, _told(kept), service.key))
        findings += _unanswered(service, first, probe)
        if probe.ok and first.ok and probe.endpoint != first.endpoint:
            findings.append(Finding("the client", f"{first.endpoint} again", f"{probe.endpoint} answered", service.key))
        if len(then) != 1 or then[0] > timeout:
            expected = f"one element of {address} with {timeout} s left at most, after the next connection"
            findings.append(Finding(node, expected, _told(renewed), service.key))
    figure = f"{min(old, default=0):g} s left after {timeout} s, {max(new, default=0):g} s after a connection"
    return Verdict("C22n", figure, tuple(findings), rest.services[0])


def judge_gone(departure: Departure, address: str, slowness: float = 1.0) -> Verdict:
    """Judge that clients are in their sets with what is left of the timeout, and in none when it is over.

    Raises UntimelyError when the node was not read in time before the timeout, or not after it.
    """
    findings: list[Finding] = []
    lefts: list[float] = []
    for service, contact in zip(departure.services, departure.contacts, strict=True):
        timeout = service.timeout_seconds or 0
        if not contact.ok:
            findings.append(Finding("the client", "an answer", contact.error, service.key))
            continue
        oldest = (departure.during.uptime or 0.0) - (contact.not_before or 0.0) + READ_SECONDS * slowness
        youngest = (departure.during.uptime or 0.0) - (contact.not_after or 0.0)
        over = (departure.after.uptime or 0.0) - (contact.not_after or 0.0)
        if oldest >= timeout or over <= timeout:
            raise UntimelyError(
                f"C25n: the node was read {oldest:.2f} s and {over:.2f} s after a request, not before and after "
                f"{timeout} s",
                next_step="see what kept the machine busy; on a slow one raise --deadline-scale",
            )
        during = of_client(NFTABLES.remembered(departure.during, service), address)
        after = of_client(NFTABLES.remembered(departure.after, service), address)
        lefts += (left := [one.seconds_left for one in during if one.seconds_left is not None])
        if len(left) != 1 or not timeout - oldest - 1 <= left[0] <= timeout - youngest:
            expected = f"one element of {address} with {timeout - oldest - 1:.1f} s to {timeout - youngest:.1f} s left"
            findings.append(Finding(departure.during.node, expected, _told(during), service.key))
        if after:
            expected = f"no element of {address} {over:.1f} s after its connection"
            findings.append(Finding(departure.after.node, expected, _told(after), service.key))
    told = ", ".join(f"{left:g}" for left in lefts)
    return Verdict("C25n", f"{told or 'nothing'} s left, then gone", tuple(findings), departure.services[0])


def _unanswered(service: ServiceState, first: Answer, probe: Answer) -> list[Finding]:
    if first.ok and probe.ok:
        return []
    return [Finding("the client", "an answer", first.error or probe.error, service.key)]


def _places(remembered: Sequence[Remembered]) -> dict[str, tuple[int, ...]]:
    return {one.memory: one.stamps for one in remembered}


def _told(remembered: Sequence[Remembered]) -> str:
    return "\n".join(map(str, remembered)) or "none"


def _not_reached(patch: Patch, node: str, late: Sequence[ServiceState]) -> Finding:
    shown = "\n".join(map(str, patch.after.differences[node][:_SHOWN]))
    return Finding(
        node,
        f"the rules of all {len(patch.after.services)} Services with their timeouts as patched",
        f"those of {len(late)} are not; is kube-proxy running there? The first differences:\n{shown}",
    )


def _failed(claim: str, trials: Sequence[Trial]) -> Verdict | None:
    failed = [one for one in trials if one.failures]
    if not failed:
        return None
    findings = tuple(
        Finding(f"the client of {one.service.name}", "every request answered", one.failures[0].error) for one in failed
    )
    return Verdict(claim, f"{len(failed)} of {len(trials)} clients got no answer", findings, failed[0].service)


def _untimely(claim: str, trials: Sequence[Trial], window: Window, since: int) -> UntimelyError:
    gaps = ", ".join(str(one.silence(since)) for one in trials)
    return UntimelyError(
        f"{claim}: clients were to be silent for {window}, and were for {gaps}",
        next_step="see what kept the machine busy; on a slow one raise --deadline-scale",
    )


def _range(trials: Sequence[Trial], since: int) -> str:
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
