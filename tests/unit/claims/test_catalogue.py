"""The catalogue made from collected tests: docstrings, subjects, order."""

from __future__ import annotations

from typing import Any

import pytest

from session_affinity.claims import API, KUBE_PROXY, Claim, Promise
from session_affinity.claims.catalogue import SUBJECTS, read_docstring
from session_affinity.errors import UsageError
from session_affinity.plugin import claims

DOCSTRING = """Sessions break.

    A second reason,
    on two lines.

    Preconditions: a Service.
    Steps: send a request,
        twice.
    Expected: an answer.
    """


class Item:
    """A collected test with markers."""

    def __init__(self, claim_id: str, *markers: str, docstring: str = DOCSTRING, promised_by: Promise = API) -> None:
        self.nodeid = f"suite/test_x.py::test_{claim_id.lower()}"
        self.function = lambda: None
        self.function.__doc__ = docstring
        claim = Claim(claim_id, "It stays", promised_by, "a field")
        self._markers = {"claim": pytest.mark.claim(claim).mark, **{name: object() for name in markers}}

    def get_closest_marker(self, name: str) -> Any:
        return self._markers.get(name)


def test_a_docstring_has_the_reason_and_three_sections() -> None:
    assert read_docstring(DOCSTRING, "test_x") == (
        "Sessions break. A second reason, on two lines.",
        "a Service.",
        "send a request, twice.",
        "an answer.",
    )


@pytest.mark.parametrize(
    ("docstring", "message"),
    [
        pytest.param(DOCSTRING.replace("Steps:", "Stops:"), "sections Preconditions, Expected", id="missing"),
        pytest.param(
            "Why.\n\nSteps: x\nPreconditions: y\nExpected: z", "sections Steps, Preconditions, Expected", id="order"
        ),
        pytest.param("", r"sections \(none\)", id="none"),
        pytest.param("Preconditions: x\nSteps: y\nExpected: z", "does not say why", id="no reason"),
    ],
)
def test_an_incomplete_docstring_is_refused(docstring: str, message: str) -> None:
    with pytest.raises(UsageError, match=rf"test_x: .*{message}"):
        read_docstring(docstring, "test_x")


def test_claims_are_in_the_order_of_their_subjects() -> None:
    items: list[Any] = [Item("C40", "disruption", "disruptive"), Item("C21", "lists"), Item("C13", "lists")]

    catalogue = claims.catalogue_of(items)

    assert [(claim_id, test.subject, test.disruptive) for claim_id, test in catalogue.items()] == [
        ("C21", "lists", False),
        ("C13", "lists", False),
        ("C40", "disruption", True),
    ]
    assert catalogue["C21"].test == "suite/test_x.py::test_c21"
    assert catalogue["C21"].why == "Sessions break. A second reason, on two lines."


def test_two_tests_of_one_claim_are_refused() -> None:
    items: list[Any] = [Item("C21", "lists"), Item("C21", "rules", promised_by=KUBE_PROXY)]

    with pytest.raises(UsageError, match="both the test of claim C21"):
        claims.catalogue_of(items)


def test_a_claim_without_a_subject_is_refused() -> None:
    items: list[Any] = [Item("C21")]

    with pytest.raises(UsageError, match="no marker names its subject") as refused:
        claims.catalogue_of(items)
    assert "rules" in (refused.value.next_step or "")


def test_subjects_have_titles() -> None:
    assert all(title[0].isupper() and not title.endswith(".") for title in SUBJECTS.values())
