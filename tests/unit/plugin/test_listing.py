"""Claims as a table and as JSON: ``pytest --claims``."""

from __future__ import annotations

import json

from session_affinity.claims import API, Claim
from session_affinity.claims.catalogue import ClaimTest
from session_affinity.plugin import listing

CLAIM = Claim("C90", "It stays", API, "a field", ("iptables", "nftables"), 1e-8)
TEST = ClaimTest(CLAIM, "lists", "suite/test_x.py::test_it", "Why.", "a Service.", "send.", "an answer.")


def test_claims_are_listed_in_columns_with_a_summary() -> None:
    assert list(listing.table([TEST], 100)) == [
        "id   promised by  judged in           subject  claim     source",
        "C90  api          iptables, nftables  lists    It stays  a field",
        "1 of 100 claims; false alarm of a run at most 1.0e-08",
    ]


def test_a_claim_about_behaviour_is_judged_in_any_mode() -> None:
    assert listing.judged_in(Claim("C91", "It stays", API, "a field")) == "any"


def test_json_has_the_claim_and_the_texts_of_its_test() -> None:
    assert json.loads(listing.as_json([TEST])) == [
        {
            "id": "C90",
            "title": "It stays",
            "promised_by": "api",
            "source": "a field",
            "modes": ["iptables", "nftables"],
            "false_alarm": 1e-8,
            "known": [],
            "subject": "lists",
            "test": "suite/test_x.py::test_it",
            "why": "Why.",
            "preconditions": "a Service.",
            "steps": "send.",
            "expected": "an answer.",
            "disruptive": False,
        }
    ]
