"""What was seen of one Service during the shared wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from affinity.services import target
from affinity.verdicts.lists import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from affinity.dataplane.batch import NodeState
    from affinity.dataplane.model import ServiceState
    from affinity.traffic.answers import Answer
    from affinity.traffic.schedule import StepAnswers


@dataclass(frozen=True)
class Gap:
    """The seconds between two new connections, as far as they are known."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.2f} s" if self.high - self.low < 0.01 else f"{self.low:.2f}..{self.high:.2f} s"


@dataclass(frozen=True)
class Trial:
    """A Service, the answers of its client in order, and the stamps of its list entry; the last answer is the probe.

    ``reused`` counts requests that went over a connection that was open already. ``stamps`` are the node's, in jiffies:
    those from before the probe, and the probe's own; None where lists cannot be read or were read too late. ``renewed``
    says that the entry had more stamps than there were connections. Moments of answers are on the client's clock.
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

    def silence(self, since: int = -2) -> Gap:
        """Return the time between a contact, counted from the end (-2 is the one before the probe), and the probe.

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
class Watch:
    """The client's node while the wait went on, and after all probes; both None where lists cannot be read."""

    address: str
    during: NodeState | None = None
    after: NodeState | None = None
    hz: int = 0


def trial(service: ServiceState, steps: Sequence[StepAnswers], watch: Watch) -> Trial:
    """Put together what was seen of a Service."""
    answers = [answer for step in steps for answer in step.answers.of(target(service))]
    # The first request of a connection is a contact; a failed one is kept, so that it is not overlooked.
    contacts = tuple(answer for answer in answers if answer.connects or not answer.ok)
    reused = len(answers) - len(contacts)
    if watch.during is None or watch.after is None:
        return Trial(service, contacts, reused)
    before = sorted(stamp for one in listed(service, watch.during, watch.address) for stamp in one.entry.stamps)
    after = [one.entry.last_seen for one in listed(service, watch.after, watch.address)]
    in_time = bool(contacts) and (watch.during.uptime or 0.0) < (contacts[-1].not_before or 0.0)
    expected = len(contacts) - 1
    return Trial(
        service,
        contacts,
        reused,
        stamps=tuple(before) if in_time and len(before) == expected else None,
        probe_stamp=max(after, default=None),
        renewed=in_time and len(before) > expected,
        hz=watch.hz,
    )


def table(trials: Sequence[Trial]) -> str:
    """Return one line a trial, with a header: who answered in turn, and how long the client was silent at the end."""
    lines = (
        f"{one.service.name},{' '.join(str(answer.endpoint) for answer in one.contacts)},{one.reused},"
        f"{'moved' if one.moved else 'stayed'},{one.silence().low:.2f},{one.silence().high:.2f}"
        for one in trials
    )
    return "\n".join(("service,answered,on open connections,outcome,silent from,silent to", *lines)) + "\n"
