"""Trials: the answers and affinity entries of one Service during the shared wait."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from session_affinity.dataplane.backend import of_client
from session_affinity.traffic.answers import target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.dataplane.backend import AffinityEntry, Backend
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.traffic.answers import Answer
    from session_affinity.traffic.schedule import StepAnswers


@dataclass(frozen=True)
class Gap:
    """Bounds of the seconds between two new connections; equal if the time is exact."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.2f} s" if self.high - self.low < 0.01 else f"{self.low:.2f}..{self.high:.2f} s"


class Contact(IntEnum):
    """The index of a contact of a trial, counted from its end."""

    BEFORE_RENEWAL = -3
    """The contact before the one that renewed the entry."""
    LAST = -2
    """The contact before the probe."""
    PROBE = -1


@dataclass(frozen=True)
class Trial:
    """A Service port and its client's contacts, which are the answers on new connections; the last one is the probe.

    ``service`` has this port alone.

    ``reused`` is the number of requests on connections that were open already. ``stamps`` are those of the entry before
    the probe and ``probe_stamp`` is that of the probe, in jiffies of the node; None if the dataplane keeps no stamps,
    or if the node was not read or was read too late. ``renewed`` says that the entry had stamps of more moments than
    there were connections, or more time left than the last connection can have given it. ``hz`` is the node's tick
    rate, 0 if it is unknown. Moments of answers are on the client's clock.
    """

    service: ServiceState
    contacts: tuple[Answer, ...]
    reused: int = 0
    stamps: tuple[int, ...] | None = None
    probe_stamp: int | None = None
    renewed: bool = False
    hz: int = 0

    @property
    def name(self) -> str:
        """The name of the Service and the number of its port."""
        return f"{self.service.name}:{self.service.ports[0].port}"

    @property
    def probe(self) -> Answer:
        """The last answer, which shows whether the client is still bound."""
        return self.contacts[-1]

    @property
    def failures(self) -> tuple[Answer, ...]:
        """The requests that no endpoint answered."""
        return tuple(answer for answer in self.contacts if not answer.ok)

    @property
    def moved(self) -> bool:
        """Whether the probe was answered by another endpoint than the contact before it."""
        return self.contacts[-1].endpoint != self.contacts[-2].endpoint

    def silence(self, since: int = Contact.LAST) -> Gap:
        """Return the time between a contact, given by its index (see ``Contact``), and the probe.

        It is exact, on the node's clock, if the stamps are known; otherwise the client's clock bounds it.
        """
        if self.stamps is not None and self.probe_stamp is not None and self.hz:
            seconds = (self.probe_stamp - self.stamps[since + 1]) / self.hz
            return Gap(seconds, seconds)
        contact = self.contacts[since]
        return Gap(
            (self.probe.not_before or 0.0) - (contact.not_after or 0.0),
            (self.probe.not_after or 0.0) - (contact.not_before or 0.0),
        )


@dataclass(frozen=True)
class TrialsSeen:
    """The trials that a test judges, for the report."""

    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class EntryReads:
    """Two reads of the client's node: before the timeout, and after all probes; None if nodes cannot be read.

    ``address`` is the client's, ``hz`` the node's tick rate, None if it is unknown.
    """

    address: str
    backend: Backend | None = None
    during: NodeSnapshot | None = None
    after: NodeSnapshot | None = None
    hz: int | None = None

    def entries(self, state: NodeSnapshot | None, service: ServiceState) -> tuple[AffinityEntry, ...]:
        """Return the client's affinity entries of a Service in one of the reads."""
        if self.backend is None or state is None:
            return ()
        return of_client(self.backend.affinity_entries(state, service, self.hz), self.address)


def make_trial(service: ServiceState, steps: Sequence[StepAnswers], reads: EntryReads) -> Trial:
    """Return the trial of a Service from the answers of all steps and from the reads of the client's node."""
    answers = [answer for step in steps for answer in step.answers.of(target(service))]
    # The first request of a connection is a contact. A failed request counts as one, so that judges find it.
    contacts = tuple(answer for answer in answers if answer.connects or not answer.ok)
    reused = len(answers) - len(contacts)
    uptime = reads.during.uptime if reads.during else None
    if uptime is None or not contacts or uptime >= (contacts[-1].not_before or 0.0):
        after = _newest_stamp(reads.entries(reads.after, service))
        return Trial(service, contacts, reused, probe_stamp=after, hz=reads.hz or 0)
    before = reads.entries(reads.during, service)
    if reads.hz is None:
        return Trial(service, contacts, reused, renewed=_has_more_left(service, before, contacts[:-1], uptime))
    stamps = _one_each(sorted(stamp for entry in before for stamp in entry.stamps), contacts, reads.hz)
    expected = len(contacts) - 1
    return Trial(
        service,
        contacts,
        reused,
        stamps=tuple(stamps) if len(stamps) == expected else None,
        probe_stamp=_newest_stamp(reads.entries(reads.after, service)),
        renewed=len(stamps) > expected,
        hz=reads.hz,
    )


def _one_each(stamps: Sequence[int], contacts: Sequence[Answer], hz: int) -> list[int]:
    """Return one stamp for each connection, the last where its first packet was sent again (see ``tcp_counters``).

    That happens before the answer, so the stamps of one connection are no further apart than the longest request took.
    Connections are seconds apart, and so are requests on a connection that stays open.
    """
    longest = math.ceil(max(contact.seconds for contact in contacts) * hz)
    last: list[int] = []
    began = 0
    for stamp in stamps:
        if last and stamp - began <= longest:
            last[-1] = stamp
        else:
            last.append(stamp)
            began = stamp
    return last


def _newest_stamp(entries: Sequence[AffinityEntry]) -> int | None:
    return max((entry.entry.last_seen for entry in entries if entry.entry), default=None)


def _has_more_left(
    service: ServiceState, entries: Sequence[AffinityEntry], contacts: Sequence[Answer], uptime: float
) -> bool:
    """Whether an entry had more time left at ``uptime``, rounded down, than the last contact can have given it."""
    if not contacts:
        return False
    most = (service.timeout_seconds or 0) - (uptime - (contacts[-1].not_after or 0.0))
    return any(entry.seconds_left is not None and entry.seconds_left > most for entry in entries)


def table(trials: Sequence[Trial]) -> str:
    """Return the trials as CSV with a header: the endpoints that answered in turn, and the silence before the probe."""
    lines = (
        f"{trial.name},{' '.join(str(answer.endpoint) for answer in trial.contacts)},{trial.reused},"
        f"{'moved' if trial.moved else 'stayed'},{trial.silence().low:.2f},{trial.silence().high:.2f}"
        for trial in trials
    )
    return "\n".join(("service,answered,on open connections,outcome,silent from,silent to", *lines)) + "\n"
