"""The affinity entries of nodes when a timeout was patched and when it is over: entries of a list, elements of a set.

A node that was read at the wrong moment is no evidence about the cluster: judges raise UntimelyError instead of a
verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.backend import of_client
from session_affinity.dataplane.backends import IPTABLES, NFTABLES
from session_affinity.errors import NothingObservedError
from session_affinity.text import lines_or
from session_affinity.verdicts.expiry import UntimelyError
from session_affinity.verdicts.verdict import Finding, Verdict, require_observed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.dataplane.backend import AffinityEntry, Backend
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.scenarios.expiry.shared_wait import ExpiredElements, SilentClients, TimeoutPatch
    from session_affinity.traffic.answers import Answer
    from session_affinity.traffic.client import ClientId

_SHOWN: Final = 4


def judge_timeout_patch(backend: Backend, patch: TimeoutPatch, client: ClientId) -> Verdict:
    """Judge that the patched timeout is programmed on every node, and that the client's entries outlived the patch.

    Raises NothingObservedError without Services, when the client's node was not read before and after the patch, and,
    unless something else contradicts the claim, when a node was not read again as the timeout was over. Raises
    NodeError where more nodes are missing than may be, and NotReadyError where a kube-proxy had no time.
    """
    require_observed(patch.services, "Services whose timeout was patched")
    patch.after.require_every_node()
    patch.after.require_time()
    require_observed(patch.after.states, "nodes read after the patch")
    node = client.node
    if node not in patch.before or node not in patch.after.states:
        raise NothingObservedError(f"{node}: the entries of {client} were not read before and after the patch")
    findings = [_not_programmed(patch, name, services) for name, services in patch.after.late.items()]
    kept = 0
    for service in patch.services:
        before = _stamps_by_store(of_client(backend.affinity_entries(patch.before[node], service), client.address))
        after = _stamps_by_store(of_client(backend.affinity_entries(patch.after.states[node], service), client.address))
        kept += bool(before) and before == after
        if before != after or not before:
            seen, was = (", ".join(stores) or f"no {backend.store_kind}" for stores in (after, before))
            expected = f"{client.address} in {was}, as before"
            findings.append(Finding(node, expected, f"in {seen}, {len(after)} entries", service.key))
    findings += [
        Finding(
            name,
            "the rules of every Service as patched, when the timeout is over",
            "\n".join(map(str, differences[:_SHOWN])),
        )
        for name, differences in patch.later.items()
        if differences and name not in patch.after.late
    ]
    if not findings and (unread := patch.after.states.keys() - patch.later.keys()):
        raise NothingObservedError(f"{', '.join(sorted(unread))} was not read again when the timeout was over")
    nodes, programmed = len(patch.after.differences), len(patch.after.seconds)
    headline = (
        f"{patch.services[0].timeout_seconds} s on {programmed} of {nodes} nodes, "
        f"{kept} of {len(patch.services)} entries kept"
    )
    context = (f"read {patch.after.waited:.1f} s after the patch; programmed: {patch.after.latency()}",)
    return Verdict(headline, tuple(findings), patch.services[0], context)


def judge_expired_entries(silent: SilentClients, client: ClientId, hz: int) -> Verdict:
    """Judge that expired entries are still listed, and that their clients choose anew nonetheless.

    ``hz`` is the tick rate of the client's node. Raises NothingObservedError without Services, and UntimelyError when
    an entry was not yet expired.
    """
    require_observed(silent.services, "Services with silent clients")
    clock, node = silent.at_end.clock(hz), silent.at_end.node
    findings: list[Finding] = []
    ages: list[float] = []
    moved = 0
    for service, first, probe in zip(silent.services, silent.first, silent.probes, strict=True):
        entries = of_client(IPTABLES.affinity_entries(silent.at_end, service, hz), client.address)
        ages += [entry.entry.age(clock) for entry in entries if entry.entry]
        if len(entries) != 1:
            findings.append(Finding(node, f"the entry of {client.address}", f"{len(entries)} entries", service.key))
        findings += _unanswered(service, first, probe)
        moved += first.endpoint != probe.endpoint
    timeout = silent.services[0].timeout_seconds or 0
    if ages and min(ages) <= timeout:
        raise UntimelyError(
            f"{node}: an entry was read {min(ages):.2f} s after its last connection, not after its {timeout} s"
        )
    if not moved:
        expected = f"at least one of {len(silent.services)} clients answered by another endpoint"
        findings.append(Finding("the client", expected, "all answered by the endpoint of their expired entry"))
    headline = f"{len(ages)} listed {min(ages, default=0):.2f} s after, {moved} of {len(silent.services)} moved"
    return Verdict(headline, tuple(findings), silent.services[0])


def judge_old_expiry(silent: SilentClients, client: ClientId) -> Verdict:
    """Judge that elements from before a patch kept their expiry, and their clients, until the next connection.

    Raises NothingObservedError without Services or when the node was not read after the next connection, and
    UntimelyError when the patched timeout was not over yet.
    """
    require_observed(silent.services, "Services with silent clients")
    node, timeout = silent.at_end.node, silent.services[0].timeout_seconds or 0
    if silent.probed is None:
        raise NothingObservedError(f"{node} was not read after the next connection, so nothing can be judged")
    findings: list[Finding] = []
    old: list[float] = []
    new: list[float] = []
    for service, first, probe in zip(silent.services, silent.first, silent.probes, strict=True):
        seconds = (silent.at_end.uptime or 0.0) - (first.not_after or 0.0)
        if seconds <= timeout:
            raise UntimelyError(f"{node} was read {seconds:.2f} s after the first request, not after {timeout} s")
        kept = of_client(NFTABLES.affinity_entries(silent.at_end, service), client.address)
        renewed = of_client(NFTABLES.affinity_entries(silent.probed, service), client.address)
        old += (left := [element.seconds_left for element in kept if element.seconds_left is not None])
        new += (left_anew := [element.seconds_left for element in renewed if element.seconds_left is not None])
        if len(left) != 1 or left[0] <= timeout:
            expected = f"one element of {client.address} with more than {timeout} s left, from before the patch"
            findings.append(Finding(node, expected, lines_or(kept, "no element"), service.key))
        findings += _unanswered(service, first, probe)
        if probe.ok and first.ok and probe.endpoint != first.endpoint:
            findings.append(Finding("the client", f"{first.endpoint} again", f"{probe.endpoint} answered", service.key))
        if len(left_anew) != 1 or left_anew[0] > timeout:
            expected = f"one element of {client.address} with {timeout} s left at most, after the next connection"
            findings.append(Finding(node, expected, lines_or(renewed, "no element"), service.key))
    headline = f"{min(old, default=0):g} s left after {timeout} s, {max(new, default=0):g} s after a connection"
    return Verdict(headline, tuple(findings), silent.services[0])


def judge_expired_elements(expired: ExpiredElements, client: ClientId) -> Verdict:
    """Judge that clients are in their sets with what is left of the timeout, and in none when it is over.

    Raises NothingObservedError without Services, and UntimelyError when the node was not read in time before the
    timeout, or not after it.
    """
    require_observed(expired.services, "Services whose clients expire")
    findings: list[Finding] = []
    lefts: list[float] = []
    for service, contact in zip(expired.services, expired.contacts, strict=True):
        timeout = service.timeout_seconds or 0
        if not contact.ok:
            findings.append(Finding("the client", "an answer", contact.error, service.key))
            continue
        oldest = (expired.during.read_until or 0.0) - (contact.not_before or 0.0)
        youngest = (expired.during.uptime or 0.0) - (contact.not_after or 0.0)
        over = (expired.after.uptime or 0.0) - (contact.not_after or 0.0)
        if oldest >= timeout or over <= timeout:
            raise UntimelyError(
                f"{expired.during.node} was read {oldest:.2f} s and {over:.2f} s after a request, not before and after "
                f"{timeout} s",
                next_step="see what kept the machine busy; on a slow one raise --deadline-scale",
            )
        during = of_client(NFTABLES.affinity_entries(expired.during, service), client.address)
        after = of_client(NFTABLES.affinity_entries(expired.after, service), client.address)
        lefts += (left := [element.seconds_left for element in during if element.seconds_left is not None])
        lowest, highest = timeout - oldest - 1, timeout - youngest
        if len(left) != 1 or not lowest <= left[0] <= highest:
            expected = f"one element of {client.address} with {lowest:.1f} s to {highest:.1f} s left"
            findings.append(Finding(expired.during.node, expected, lines_or(during, "no element"), service.key))
        if after:
            expected = f"no element of {client.address} {over:.1f} s after its connection"
            findings.append(Finding(expired.after.node, expected, lines_or(after, "no element"), service.key))
    seconds = ", ".join(f"{left:g}" for left in lefts)
    return Verdict(f"{seconds or 'nothing'} s left, then gone", tuple(findings), expired.services[0])


def _unanswered(service: ServiceState, first: Answer, probe: Answer) -> list[Finding]:
    if first.ok and probe.ok:
        return []
    return [Finding("the client", "an answer", first.error or probe.error, service.key)]


def _stamps_by_store(entries: Sequence[AffinityEntry]) -> dict[str, tuple[int, ...]]:
    return {entry.store: entry.stamps for entry in entries}


def _not_programmed(patch: TimeoutPatch, node: str, late: Sequence[ServiceState]) -> Finding:
    differences = "\n".join(map(str, patch.after.differences[node][:_SHOWN]))
    return Finding(
        node,
        f"the rules of all {len(patch.after.services)} Services with their timeouts as patched",
        f"those of {len(late)} are not; is kube-proxy running there? The first differences:\n{differences}",
    )
