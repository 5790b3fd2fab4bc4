"""The ``claim`` decorator, and the catalogue of the claims of all tests that pytest collects."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Final, TypeVar

import pytest

from session_affinity.claims import Claim, Promise, sources
from session_affinity.claims.catalogue import SECTIONS, SUBJECTS, ClaimTest, read_docstring
from session_affinity.errors import UsageError
from session_affinity.plugin import allure_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from session_affinity.claims import KnownBehaviour

Test = TypeVar("Test", bound="Callable[..., None]")

CATALOGUE: Final = pytest.StashKey[dict[str, ClaimTest]]()
"""The claims of all tests that were collected, deselected ones included, by id; empty before the collection."""
DISRUPTIVE: Final = "disruptive"
"""The marker of tests that disturb what others rely on."""
CLIENT_NODE: Final = "client_node"
"""The marker of tests that rely on no node but the client's: they run while others are disturbed."""
DUAL_STACK: Final = "dual_stack"
"""The marker of claims about two IP families."""
_PROMISED_BY: Final = {
    Promise.API: "the Service API, on any dataplane",
    Promise.KUBE_PROXY: "kube-proxy, where no document specifies the behaviour; other dataplanes may differ",
}
_SECTION: Final = re.compile(rf"^({'|'.join(SECTIONS)}): ", re.MULTILINE)


def claim(
    claim_id: str,
    title: str,
    *,
    promised_by: Promise,
    source: str,
    modes: tuple[str, ...] = (),
    false_alarm: float = 0.0,
    known: tuple[KnownBehaviour, ...] = (),
) -> Callable[[Test], Test]:
    """Return a decorator that makes a test the test of a claim (see ``claims.Claim`` for the arguments)."""
    claim = Claim(claim_id, title, promised_by, source, modes, false_alarm, known)
    marks = (
        pytest.mark.claim(claim),
        getattr(pytest.mark, str(promised_by)),
        *((pytest.mark.dataplane(*modes),) if modes else ()),
    )

    def decorate(test: Test) -> Test:
        for mark in (*marks, *allure_labels.of_claim(claim, description(claim, test.__doc__ or ""))):
            test = mark(test)
        return test

    return decorate


def claim_of(item: pytest.Item) -> Claim | None:
    """Return the claim that a test checks; None for a test that checks none."""
    marker = item.get_closest_marker("claim")
    return marker.args[0] if marker else None


def subject_of(item: pytest.Item) -> str:
    """Return the subject of a claim's test; raises UsageError when its markers name none.

    A test of another subject may have the marker ``dual_stack`` too, for what it needs.
    """
    named = [subject for subject in SUBJECTS if item.get_closest_marker(subject)]
    subject = next((subject for subject in named if subject != DUAL_STACK), named[0] if named else None)
    if subject is None:
        raise UsageError(f"{item.nodeid}: no marker names its subject", next_step=f"add one of {', '.join(SUBJECTS)}")
    return subject


def description(claim: Claim, docstring: str) -> str:
    """Return a claim's description for the report in Markdown: its test's docstring, source and false-alarm bound."""
    text = _SECTION.sub(r"\n**\1:** ", inspect.cleandoc(docstring))
    address = sources.link(claim.source)
    source = f"[{claim.source}]({address})" if address else claim.source
    chance = f"\n\n**False alarm:** at most {claim.false_alarm:.0e} a run" if claim.false_alarm else ""
    known = "".join(f"\n\n**Known behaviour:** {behaviour}" for behaviour in claim.known)
    return f"{text}\n\n**Promised by:** {_PROMISED_BY[claim.promised_by]}\n\n**Source:** {source}{chance}{known}"


def catalogue_of(items: Iterable[pytest.Item]) -> dict[str, ClaimTest]:
    """Return the claims of tests by id, in the order in which they are judged; raises UsageError if two share an id."""
    subjects = list(SUBJECTS)
    tests: dict[str, ClaimTest] = {}
    for item in items:
        if (claim := claim_of(item)) is None:
            continue
        if claim.id in tests:
            raise UsageError(
                f"{item.nodeid} and {tests[claim.id].test} are both the test of claim {claim.id}",
                next_step="give one of them an id that no claim has had",
            )
        docstring = read_docstring(inspect.getdoc(getattr(item, "function", None)) or "", item.nodeid)
        disruptive = item.get_closest_marker(DISRUPTIVE) is not None
        tests[claim.id] = ClaimTest(claim, subject_of(item), item.nodeid, *docstring, disruptive=disruptive)
    # Sorting is stable: within a subject the tests keep the order of their file.
    return dict(sorted(tests.items(), key=lambda entry: subjects.index(entry[1].subject)))


def pytest_configure(config: pytest.Config) -> None:
    """Create an empty catalogue."""
    config.stash[CATALOGUE] = {}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Register a claim's id as a marker of its test, so that ``-m C10`` selects it."""
    if claim := claim_of(item):
        item.config.addinivalue_line("markers", f"{claim.id}: {claim.title}.")
        item.add_marker(claim.id)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Make the catalogue before any test is deselected, and label each test with its subject for the report."""
    try:
        config.stash[CATALOGUE] = catalogue_of(items)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    for item in items:
        if claim_of(item):
            allure_labels.add_feature(item, SUBJECTS[subject_of(item)])
