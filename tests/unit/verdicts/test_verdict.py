"""A verdict in words, and verdicts put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from session_affinity.verdicts.verdict import MOST_FINDINGS, Finding, Verdict, combine
from tests.unit.verdicts.conftest import explained

if TYPE_CHECKING:
    from tests.unit.verdicts.conftest import World


def test_a_failure_names_claim_place_expectation_observation_and_service(world: World) -> None:
    finding = Finding("myk8s-worker2", "--seconds 30", "--seconds 3600", "KUBE-SVC-X rule 3")

    text = explained(Verdict("wrong seconds", (finding,), world.service, ("read 0.8 s after the change",)))

    assert text.splitlines() == [
        "C16 does not hold on myk8s-worker2: wrong seconds",
        "  claim: Each rcheck rule has the right arguments",
        "  myk8s-worker2: KUBE-SVC-X rule 3",
        "    expected: --seconds 30",
        "    seen: --seconds 3600",
        (
            "  Service default/affinity-sticky-x7k2p: cluster IP 10.200.1.17, port web 9000/TCP, "
            "sessionAffinity ClientIP, timeoutSeconds 30"
        ),
        (
            "  endpoints: 10.10.1.2:80 (pod webpod1 on myk8s-worker), 10.10.2.2:80 (pod webpod2 on myk8s-worker2), "
            "10.10.3.2:80 (pod webpod3 on myk8s-worker3)"
        ),
        "  read 0.8 s after the change",
    ]


def test_places_are_named_once() -> None:
    findings = tuple(Finding(where, "a", "b") for where in ("myk8s-worker", "myk8s-worker", "myk8s-worker2"))

    assert explained(Verdict("x", findings)).startswith("C16 does not hold on myk8s-worker, myk8s-worker2: x\n")


def test_many_findings_are_cut() -> None:
    text = explained(Verdict("x", tuple(Finding("n", "a", f"b{number}") for number in range(MOST_FINDINGS + 3))))

    assert "and 3 more like these" in text
    assert text.count("expected: a") == MOST_FINDINGS


def test_several_lines_stay_together() -> None:
    assert Finding("n", "a", "b\nc").lines() == ("n", "  expected: a", "  seen: b", "        c")


def test_a_verdict_that_holds_has_its_headline() -> None:
    verdict = Verdict("100 of 100 from webpod2")

    assert verdict.ok
    assert explained(verdict) == "C16 holds: Each rcheck rule has the right arguments: 100 of 100 from webpod2"


def test_a_combination_has_the_parts_that_do_not_hold(world: World) -> None:
    wrong = Verdict("2 endpoints", (Finding("net-pod", "1", "2"),), world.service)

    combined = combine(Verdict("100 of 100"), wrong)

    assert not combined.ok
    assert (combined.headline, combined.service) == ("2 endpoints", world.service)


def test_a_combination_that_holds_has_equal_headlines_once() -> None:
    assert combine(Verdict("20 of 20"), Verdict("20 of 20")).headline == "20 of 20"
