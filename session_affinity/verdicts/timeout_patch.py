"""What nodes hold of clients when a timeout was patched and when it is over; an entry of a list, an element of a set.

A node that was read at the wrong moment says nothing about the cluster: then there is no verdict but an UntimelyError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.backend import of_client
from session_affinity.dataplane.backends import IPTABLES, NFTABLES
from session_affinity.verdicts.expiry import UntimelyError
from session_affinity.verdicts.verdict import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.dataplane.backend import AffinityEntry, Backend
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.scenarios.expiry.shared_wait import ExpiredElements, SilentClients, TimeoutPatch
    from session_affinity.traffic.answers import Answer

_SHOWN: Final = 4


def judge_patch(backend: Backend, patch: TimeoutPatch, address: str, node: str) -> Verdict:
    """Judge that the patched timeout is programmed on every node, and that the client's entries outlived the patch."""
    findings = [_not_reached(patch, name, services) for name, services in patch.after.late.items()]
    kept = 0
    for service in patch.services:
        before = _places(of_client(backend.affinity_entries(patch.before[node], service), address))
        after = _places(of_client(backend.affinity_entries(patch.after.states[node], service), address))
        kept += bool(before) and before == after
        if before != after or not before:
            seen, was = (", ".join(places) or f"no {backend.store_kind}" for places in (after, before))
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
    headline = (
        f"{patch.services[0].timeout_seconds} s on {programmed} of {nodes} nodes, "
        f"{kept} of {len(patch.services)} entries kept"
    )
    context = (f"read {patch.after.waited:.1f} s after the patch; programmed: {patch.after.latency()}",)
    return Verdict(headline, tuple(findings), patch.services[0], context)


def judge_inert(rest: SilentClients, address: str, hz: int) -> Verdict:
    """Judge that expired entries are still listed, and that their clients choose anew all the same.

    Raises UntimelyError when an entry was not yet that old.
    """
    clock, node = rest.at_end.clock(hz), rest.at_end.node
    findings: list[Finding] = []
    ages: list[float] = []
    moved = 0
    for service, first, probe in zip(rest.services, rest.first, rest.probes, strict=True):
        entries = of_client(IPTABLES.affinity_entries(rest.at_end, service, hz), address)
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
    headline = f"{len(ages)} listed {min(ages, default=0):.2f} s after, {moved} of {len(rest.services)} moved"
    return Verdict(headline, tuple(findings), rest.services[0])


def judge_old_expiry(rest: SilentClients, address: str) -> Verdict:
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
        kept = of_client(NFTABLES.affinity_entries(rest.at_end, service), address)
        renewed = of_client(NFTABLES.affinity_entries(rest.probed, service), address) if rest.probed else ()
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
    headline = f"{min(old, default=0):g} s left after {timeout} s, {max(new, default=0):g} s after a connection"
    return Verdict(headline, tuple(findings), rest.services[0])


def judge_gone(departure: ExpiredElements, address: str) -> Verdict:
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
        oldest = (departure.during.read_until or 0.0) - (contact.not_before or 0.0)
        youngest = (departure.during.uptime or 0.0) - (contact.not_after or 0.0)
        over = (departure.after.uptime or 0.0) - (contact.not_after or 0.0)
        if oldest >= timeout or over <= timeout:
            raise UntimelyError(
                f"C25n: the node was read {oldest:.2f} s and {over:.2f} s after a request, not before and after "
                f"{timeout} s",
                next_step="see what kept the machine busy; on a slow one raise --deadline-scale",
            )
        during = of_client(NFTABLES.affinity_entries(departure.during, service), address)
        after = of_client(NFTABLES.affinity_entries(departure.after, service), address)
        lefts += (left := [one.seconds_left for one in during if one.seconds_left is not None])
        if len(left) != 1 or not timeout - oldest - 1 <= left[0] <= timeout - youngest:
            expected = f"one element of {address} with {timeout - oldest - 1:.1f} s to {timeout - youngest:.1f} s left"
            findings.append(Finding(departure.during.node, expected, _told(during), service.key))
        if after:
            expected = f"no element of {address} {over:.1f} s after its connection"
            findings.append(Finding(departure.after.node, expected, _told(after), service.key))
    told = ", ".join(f"{left:g}" for left in lefts)
    return Verdict(f"{told or 'nothing'} s left, then gone", tuple(findings), departure.services[0])


def _unanswered(service: ServiceState, first: Answer, probe: Answer) -> list[Finding]:
    if first.ok and probe.ok:
        return []
    return [Finding("the client", "an answer", first.error or probe.error, service.key)]


def _places(remembered: Sequence[AffinityEntry]) -> dict[str, tuple[int, ...]]:
    return {one.store: one.stamps for one in remembered}


def _told(remembered: Sequence[AffinityEntry]) -> str:
    return "\n".join(map(str, remembered)) or "none"


def _not_reached(patch: TimeoutPatch, node: str, late: Sequence[ServiceState]) -> Finding:
    shown = "\n".join(map(str, patch.after.differences[node][:_SHOWN]))
    return Finding(
        node,
        f"the rules of all {len(patch.after.services)} Services with their timeouts as patched",
        f"those of {len(late)} are not; is kube-proxy running there? The first differences:\n{shown}",
    )
