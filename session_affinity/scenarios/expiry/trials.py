"""What was seen of one Service during the shared wait."""

from __future__ import annotations

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
    """The seconds between two new connections, as far as they are known."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.2f} s" if self.high - self.low < 0.01 else f"{self.low:.2f}..{self.high:.2f} s"


class Contact(IntEnum):
    """A contact of a trial, counted from its end."""

    BEFORE_RENEWAL = -3
    """The contact before the one that renewed the client."""
    LAST = -2
    """The contact before the probe."""
    PROBE = -1


@dataclass(frozen=True)
class Trial:
    """A Service, the answers of its client in order, and the stamps of its list entry; the last answer is the probe.

    ``reused`` counts requests that went over a connection that was open already. ``stamps`` are the node's, in jiffies:
    those from before the probe, and the probe's own; None where the dataplane keeps none, and where lists cannot be
    read or were read too late. ``renewed`` says that the entry had more stamps than there were connections, or more
    time left than the last of them gave it. Moments of answers are on the client's clock.
    """

    service: ServiceState
    contacts: tuple[Answer, ...]
    reused: int = 0
    stamps: tuple[int, ...] | None = None
    probe_stamp: int | None = None
    renewed: bool = False
    hz: int = 0

    @property
    def probe(self) -> Answer:
        """The last answer, which tells whether the client is still bound."""
        return self.contacts[-1]

    @property
    def failures(self) -> tuple[Answer, ...]:
        """Requests that no endpoint answered."""
        return tuple(answer for answer in self.contacts if not answer.ok)

    @property
    def moved(self) -> bool:
        """Whether another endpoint answered the probe than the connection before it."""
        return self.contacts[-1].endpoint != self.contacts[-2].endpoint

    def silence(self, since: int = Contact.LAST) -> Gap:
        """Return the time between a contact, counted from the end (see ``Contact``), and the probe.

        On the node's clock where its stamps are known, which is exact; else bounded by the client's clock.
        """
        if self.stamps is not None and self.probe_stamp is not None and self.hz:
            seconds = (self.probe_stamp - self.stamps[since + 1]) / self.hz
            return Gap(seconds, seconds)
        then = self.contacts[since]
        return Gap(
            (self.probe.not_before or 0.0) - (then.not_after or 0.0),
            (self.probe.not_after or 0.0) - (then.not_before or 0.0),
        )


@dataclass(frozen=True)
class TrialsSeen:
    """Trials that a test looks at."""

    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Watch:
    """The client's node while the wait went on, and after all probes; all None where memories cannot be read."""

    address: str
    backend: Backend | None = None
    during: NodeSnapshot | None = None
    after: NodeSnapshot | None = None
    hz: int | None = None

    def of(self, state: NodeSnapshot | None, service: ServiceState) -> tuple[AffinityEntry, ...]:
        """Return what is remembered of the client for a Service."""
        if self.backend is None or state is None:
            return ()
        return of_client(self.backend.affinity_entries(state, service, self.hz), self.address)


def trial(service: ServiceState, steps: Sequence[StepAnswers], watch: Watch) -> Trial:
    """Put together what was seen of a Service."""
    answers = [answer for step in steps for answer in step.answers.of(target(service))]
    # The first request of a connection is a contact; a failed one is kept, so that it is not overlooked.
    contacts = tuple(answer for answer in answers if answer.connects or not answer.ok)
    reused = len(answers) - len(contacts)
    uptime = watch.during.uptime if watch.during else None
    if uptime is None or not contacts or uptime >= (contacts[-1].not_before or 0.0):
        after = _newest(watch.of(watch.after, service))
        return Trial(service, contacts, reused, probe_stamp=after, hz=watch.hz or 0)
    before = watch.of(watch.during, service)
    if watch.hz is None:
        return Trial(service, contacts, reused, renewed=_has_more_left(service, before, contacts[:-1], uptime))
    stamps = sorted(stamp for one in before for stamp in one.stamps)
    expected = len(contacts) - 1
    return Trial(
        service,
        contacts,
        reused,
        stamps=tuple(stamps) if len(stamps) == expected else None,
        probe_stamp=_newest(watch.of(watch.after, service)),
        renewed=len(stamps) > expected,
        hz=watch.hz,
    )


def _newest(remembered: Sequence[AffinityEntry]) -> int | None:
    return max((one.entry.last_seen for one in remembered if one.entry), default=None)


def _has_more_left(
    service: ServiceState, remembered: Sequence[AffinityEntry], contacts: Sequence[Answer], uptime: float
) -> bool:
    """Return whether more time was left at some uptime, rounded down, than the last connection can have given."""
    if not contacts:
        return False
    most = (service.timeout_seconds or 0) - (uptime - (contacts[-1].not_after or 0.0))
    return any(one.seconds_left is not None and one.seconds_left > most for one in remembered)


def table(trials: Sequence[Trial]) -> str:
    """Return one line a trial, with a header: who answered in turn, and how long the client was silent at the end."""
    lines = (
        f"{one.service.name},{' '.join(str(answer.endpoint) for answer in one.contacts)},{one.reused},"
        f"{'moved' if one.moved else 'stayed'},{one.silence().low:.2f},{one.silence().high:.2f}"
        for one in trials
    )
    return "\n".join(("service,answered,on open connections,outcome,silent from,silent to", *lines)) + "\n"
