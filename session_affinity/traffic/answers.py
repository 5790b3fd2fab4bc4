"""The answers to a round of requests."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from session_affinity.text import listed, moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from session_affinity.dataplane.model import ServiceState


@dataclass(frozen=True)
class Target:
    """An address and a port to which requests are sent."""

    address: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


def target(service: ServiceState) -> Target:
    """Return a Service's first cluster IP and first port."""
    return Target(service.cluster_ips[0], service.ports[0].port)


def targets(service: ServiceState) -> tuple[Target, ...]:
    """Return each port of a Service at its first cluster IP."""
    return tuple(Target(service.cluster_ips[0], port.port) for port in service.ports)


@dataclass(frozen=True)
class Answer:
    """A request and the answer to it.

    ``endpoint`` is the host name in the answer; None if there is no answer, and then ``error`` is the reason.
    ``connects`` is the number of connections opened for the request: 1, or 0 if it used an open one. ``seconds`` is the
    duration of the request. ``not_before`` and ``not_after`` bound the moment at which the answer began, in seconds of
    the client's uptime; None if that was not measured. ``local_address`` is the client's source address before any
    translation; empty if it is unknown.
    """

    target: Target
    endpoint: str | None
    status: int
    local_port: int
    connects: int
    seconds: float
    error: str = ""
    not_before: float | None = None
    not_after: float | None = None
    local_address: str = ""

    @property
    def ok(self) -> bool:
        """Whether an endpoint answered."""
        return self.endpoint is not None and not self.error


@dataclass(frozen=True)
class Answers:
    """The answers to a round of requests in the order they were sent, failed requests included."""

    answers: tuple[Answer, ...]

    def __iter__(self) -> Iterator[Answer]:
        return iter(self.answers)

    def __len__(self) -> int:
        return len(self.answers)

    def __add__(self, later: Answers) -> Answers:
        return Answers((*self.answers, *later.answers))

    @property
    def failures(self) -> tuple[Answer, ...]:
        """The requests that no endpoint answered."""
        return tuple(answer for answer in self.answers if not answer.ok)

    @property
    def by_endpoint(self) -> Counter[str]:
        """The number of answers of each endpoint."""
        return Counter(answer.endpoint for answer in self.answers if answer.endpoint is not None and answer.ok)

    @property
    def only_endpoint(self) -> str | None:
        """The endpoint that answered every request; None if there were several or none, or if a request failed."""
        counts = self.by_endpoint
        return next(iter(counts)) if len(counts) == 1 and not self.failures else None

    def of(self, *targets: Target) -> Answers:
        """Return the answers to requests to these targets."""
        return Answers(tuple(answer for answer in self.answers if answer.target in targets))

    def summary(self) -> str:
        """Return the number of answers of each endpoint, most first, and of failed requests with their errors."""
        parts = [f"{endpoint} {count}" for endpoint, count in self.by_endpoint.most_common()]
        if self.failures:
            reasons = Counter(answer.error for answer in self.failures)
            errors = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
            parts.append(f"failed {len(self.failures)}: {errors}")
        return f"{len(self.answers)} requests: {', '.join(parts) or 'none sent'}"

    def sequence(self, width: int = 40) -> str:
        """Return the endpoints in order as runs, ``webpod1 x3, webpod2, webpod1 x8``, at most ``width`` of them."""
        runs = list(_runs(answer.endpoint or "failed" for answer in self.answers))
        return listed([name if count == 1 else f"{name} x{count}" for name, count in runs], width)

    def csv(self) -> str:
        """Return the answers as CSV with a header."""
        head = "number,target,endpoint,status,local_port,connects,seconds,not_before,not_after,error"
        lines = (
            f"{number},{a.target},{a.endpoint or ''},{a.status},{a.local_port},{a.connects},{a.seconds:.6f},"
            f"{moment(a.not_before)},{moment(a.not_after)},{_quoted(a.error)}"
            for number, a in enumerate(self.answers, 1)
        )
        return "\n".join((head, *lines)) + "\n"


def _runs(names: Iterable[str]) -> Iterator[tuple[str, int]]:
    last, count = None, 0
    for name in names:
        if name != last and last is not None:
            yield last, count
            count = 0
        last, count = name, count + 1
    if last is not None:
        yield last, count


def _quoted(text: str) -> str:
    escaped = text.replace('"', '""')
    return f'"{escaped}"' if text else ""
