"""The page docs/claims.md, rendered from claims and from what behaviour alone reveals of defects."""

from __future__ import annotations

from ci.claims_page import render

CLAIM = {
    "id": "C90",
    "title": "It stays",
    "promised_by": "kube_proxy",
    "source": "Linux net/netfilter/xt_recent.c",
    "modes": ["iptables"],
    "false_alarm": 1e-8,
    "known": [],
    "subject": "lists",
    "test": "suite/test_x.py::test_it",
    "why": "Sessions break.",
    "preconditions": "a Service.",
    "steps": "send a request.",
    "expected": "an answer.",
    "disruptive": False,
}
DEFECT = {"defect": "no list", "cluster": "iptables", "found by": ["C21"], "noticed by": [], "could not tell": []}


def test_a_claim_is_in_the_table_and_in_the_section_of_its_subject() -> None:
    page = render([CLAIM])

    assert "| C90 | It stays | kube_proxy | iptables | lists |" in page
    assert "## Affinity entries on each node\n\n### C90 It stays\n\nSessions break.\n" in page
    assert "* Preconditions: a Service.\n* Steps: send a request.\n* Expected: an answer.\n" in page
    assert "Promised by kube-proxy: [Linux net/netfilter/xt_recent.c](https://github.com/torvalds/linux/" in page
    assert "Judged in iptables mode. False alarm: at most 1.0e-08 a run." in page
    assert "`suite/test_x.py::test_it`" in page
    assert "## Restarts" not in page


def test_a_claim_about_behaviour_without_chance_says_so() -> None:
    page = render([{**CLAIM, "modes": [], "false_alarm": 0, "source": "common sense"}])

    assert "| C90 | It stays | kube_proxy | any | lists |" in page
    assert "Promised by kube-proxy: common sense. Judged on any dataplane.\n" in page


def test_a_known_behaviour_has_its_report_and_its_versions() -> None:
    report = "https://example.org/7"
    known = {"what": "keeps it", "link": report, "since": "1.32", "until": "1.37", "modes": ["nftables"]}

    page = render([{**CLAIM, "known": [known]}])

    expected = "kube-proxy keeps it ([report](https://example.org/7)), from 1.32 on, before 1.37 in nftables mode."
    assert f"Known behaviour: {expected}\n" in page


def test_defects_have_the_claims_about_behaviour_that_noticed_them() -> None:
    noticed = {**DEFECT, "defect": "another", "noticed by": ["C10", "C12"]}
    undetermined = {**DEFECT, "defect": "a third", "could not tell": ["C11"]}

    page = render([CLAIM], [DEFECT, noticed, undetermined])

    assert "1 of 3 defects were noticed by behaviour alone." in page
    assert "| no list | iptables | C21 | **not noticed** |" in page
    assert "| another | iptables | C21 | C10, C12 |" in page
    assert "| a third | iptables | C21 | **not noticed**; C11 could not be tested |" in page


def test_without_rows_the_page_names_the_command_that_makes_them() -> None:
    assert "Not measured yet: run `make behaviour`." in render([CLAIM])
