"""``session-affinity explain C16``: one claim in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from session_affinity.claims import Promise, sources
from session_affinity.claims.advice import SUBJECT_ADVICE, advice_for
from session_affinity.claims.catalogue import SUBJECTS
from session_affinity.cli.pytest_run import catalogue
from session_affinity.cli.selection import Names, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from session_affinity.claims.catalogue import ClaimTest

WIDTH: Final = 100
_PROMISED_BY: Final = {
    Promise.API: "the Service API: on any dataplane",
    Promise.KUBE_PROXY: "kube-proxy, where no document specifies the behaviour: other dataplanes may differ",
}


@click.command(
    short_help="Explain a claim, and where to look when it fails.", epilog="Example: session-affinity explain C16"
)
@click.argument("claim_id", type=Names(), metavar="CLAIM")
def command(claim_id: str) -> int:
    """Explain a claim: why it matters, who promises it and where, how it is judged, where to look when it fails."""
    claims = catalogue()
    if claim_id not in claims:
        raise click.UsageError(unknown(claim_id, tuple(claims)))
    for line in explanation(claims[claim_id]):
        click.echo(line)
    return 0


def explanation(test: ClaimTest) -> Iterator[str]:
    """Yield the lines about a claim."""
    claim = test.claim
    yield f"{claim.id}  {claim.title}"
    yield ""
    yield from _field("Promised by", _PROMISED_BY[claim.promised_by])
    yield from _field("Source", claim.source)
    if address := sources.link(claim.source):
        yield from _field("", address)
    if promise := sources.PROMISES.get(claim.id):
        yield from _field("Words", f'"{promise.words}", to {promise.client}: {promise.document}')
    yield from _field("Subject", f"{test.subject} ({SUBJECTS[test.subject]})")
    yield from _field("Judged in", ", ".join(claim.modes) + " mode, reading the nodes" if claim.modes else "any mode")
    if claim.false_alarm:
        yield from _field("Chance", f"fails on a correct cluster with a probability of at most {claim.false_alarm:.0e}")
    if test.disruptive:
        yield from _field("Disruptive", "judged on clusters that the suite starts, never on yours")
    for heading, text in (
        ("Why it matters", test.why),
        ("Preconditions", test.preconditions),
        ("Steps", test.steps),
        ("Expected", test.expected),
    ):
        yield from ("", heading, *_wrapped(text))
    yield from ("", "When it fails")
    for advice in advice_for(claim.id):
        yield from _wrapped(f"fails: {advice.fails}; passes: {advice.passes}. Look at {advice.look_at}", "  * ")
    yield from _wrapped(f"In any case look at {SUBJECT_ADVICE[test.subject]}", "  * ")
    yield from ("", "Judge it", f"  session-affinity check {claim.id} --kubeconfig FILE{_access(test)}")


def _access(test: ClaimTest) -> str:
    return " --node-access agent" if test.claim.modes else ""


def _field(name: str, text: str) -> Iterator[str]:
    yield from click.wrap_text(text, WIDTH, f"{name:<13}", " " * 13).splitlines()


def _wrapped(text: str, first: str = "  ") -> list[str]:
    return click.wrap_text(text, WIDTH, first, " " * len(first)).splitlines()
