"""``pytest --claims``: the claims that a run would check, without starting anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from session_affinity.claims import CATALOGUE, Claim, costs
from session_affinity.claims.document import judged_on
from session_affinity.claims.told import read_suite
from session_affinity.plugin.claims import claim_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

QUIETEST: Final = -2
"""The verbosity at which pytest says nothing of its own."""


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Let pytest collect and select as always, and say nothing of it."""
    if config.getoption("--claims"):
        config.option.verbose = QUIETEST


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """List the claims of the tests that were selected instead of running them."""
    if not session.config.getoption("--claims"):
        return None
    chosen = {claim.id for item in session.items if (claim := claim_of(item))}
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    about = {one.claim: one.subjects for one in read_suite()}
    for line in listing([one for one in CATALOGUE.values() if one.id in chosen], about, costs.read()):
        reporter.write_line(line)
    return True


def listing(
    claims: Sequence[Claim], about: Mapping[str, Sequence[str]], seconds: Mapping[str, Mapping[str, float]]
) -> Iterator[str]:
    """Yield a line a claim, with a header, and a last line that sums up."""
    head = ("id", "promised by", "judged on", "seconds", "subjects", "claim", "source")
    rows = [head, *(_row(claim, about.get(claim.id, ()), seconds.get(claim.id, {})) for claim in claims)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
    alarm = sum(claim.false_alarm for claim in claims)
    on = costs.measured_on()
    measured = f"; seconds, what a run shares aside, measured on {on}" if on else ""
    yield f"{len(claims)} of {len(CATALOGUE)} claims; false alarm of a run at most {alarm:.1e}{measured}"


def _row(claim: Claim, about: Sequence[str], seconds: Mapping[str, float]) -> tuple[str, ...]:
    taken = f"{max(seconds.values()):.1f}" if seconds else "-"
    return claim.id, str(claim.promised_by), judged_on(claim), taken, ", ".join(about), claim.title, claim.source
