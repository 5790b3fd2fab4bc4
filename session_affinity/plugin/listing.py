"""``pytest --claims``: list the claims that a run would check, without starting a cluster."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import pytest

from session_affinity.options import OUTPUT_GROUP
from session_affinity.plugin.claims import CATALOGUE, claim_of
from session_affinity.plugin.options import group_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from session_affinity.claims import Claim
    from session_affinity.claims.catalogue import ClaimTest

QUIETEST: Final = -2
"""The verbosity at which pytest prints nothing of its own."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that list claims instead of checking them."""
    group = group_of(parser, OUTPUT_GROUP)
    group.addoption("--claims", action="store_true", help="List the claims that a run would judge, and exit.")
    group.addoption(
        "--claims-format", choices=("table", "json"), default="table", help="The format of --claims. Default: table."
    )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Silence pytest's own output; it collects and selects tests as usual."""
    if config.getoption("--claims"):
        config.option.verbose = QUIETEST


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """List the claims of the selected tests instead of running them."""
    config = session.config
    if not config.getoption("--claims"):
        return None
    selected = {claim.id for item in session.items if (claim := claim_of(item))}
    catalogue = config.stash[CATALOGUE]
    tests = [test for claim_id, test in catalogue.items() if claim_id in selected]
    reporter = config.pluginmanager.getplugin("terminalreporter")
    lines = [as_json(tests)] if config.getoption("--claims-format") == "json" else table(tests, len(catalogue))
    for line in lines:
        reporter.write_line(line)
    return True


def judged_in(claim: Claim) -> str:
    """Return the proxy modes in which a claim is judged, or ``any``."""
    return ", ".join(claim.modes) or "any"


def table(tests: Sequence[ClaimTest], total: int) -> Iterator[str]:
    """Yield a header, a line for each claim, and a summary; ``total`` is the number of claims in the catalogue."""
    head = ("id", "promised by", "judged in", "subject", "claim", "source")
    rows = [head, *map(_row, tests)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
    alarm = sum(test.claim.false_alarm for test in tests)
    yield f"{len(tests)} of {total} claims; false alarm of a run at most {alarm:.1e}"


def as_json(tests: Iterable[ClaimTest]) -> str:
    """Return the claims as a JSON array, with the texts of their tests."""
    return json.dumps([_document(test) for test in tests], indent=1)


def _document(test: ClaimTest) -> dict[str, Any]:
    document = asdict(test)
    return {**document.pop("claim"), **document}


def _row(test: ClaimTest) -> tuple[str, ...]:
    claim = test.claim
    return claim.id, str(claim.promised_by), judged_in(claim), test.subject, claim.title, claim.source
