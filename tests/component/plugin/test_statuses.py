"""A violated claim is a failure everywhere; everything else that ends its test is an error everywhere.

One run of a small suite, in a process of its own because allure-pytest keeps state in its module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import pytest

from tests.component.plugin.conftest import allure_results, run_apart

SUITE = """
@pytest.fixture
def unready():
    raise NotReadyError("no endpoints", next_step="look at the pods")

@pytest.fixture
def undeletable():
    yield
    raise ClusterError("DELETE /api/v1: no answer from the API: refused")

@claimed("C01", "A claim that holds")
def test_holds(check):
    check(HOLDS)

@claimed("C02", "A violated claim")
def test_violated(check):
    check(VIOLATED)

@claimed("C03", "An error of the cluster in the test")
def test_error_in_call(check):
    raise ClusterError("GET /api/v1/pods: no answer from the API: refused")

@claimed("C04", "An error of the cluster in the set-up")
def test_error_in_setup(unready):
    pass

@claimed("C05", "An error of the cluster in the teardown")
def test_error_in_teardown(undeletable, check):
    check(HOLDS)

@claimed("C06", "A mistake in the suite")
def test_mistake():
    {}["no such key"]

@claimed("C07", "A violated claim with an error in the teardown")
def test_violated_and_error_in_teardown(undeletable, check):
    check(VIOLATED)

@claimed("C08", "A skipped claim")
def test_skipped():
    pytest.skip("kube-proxy runs in nftables mode")
"""
FAILURES = {"C02", "C07"}
ERRORS = {"C03", "C04", "C05", "C06", "C07"}


@dataclass(frozen=True)
class Run:
    """The exit code and the output of a run, its JUnit file and its Allure statuses by claim."""

    code: int
    output: str
    junit: ET.Element
    allure: dict[str, str]

    def claims_with(self, tag: str) -> list[str]:
        """Return the claims of the JUnit test cases with an element; a claim may have several test cases."""
        cases = [case for case in self.junit.iter("testcase") if case.find(tag) is not None]
        return sorted(str(case.find(".//property[@name='claim']").get("value")) for case in cases)


@pytest.fixture(scope="module")
def statuses(tmp_path_factory: pytest.TempPathFactory) -> Run:
    directory = tmp_path_factory.mktemp("statuses")
    done = run_apart(directory, SUITE, "--cluster=embedded")
    junit = ET.fromstring((directory / "junit.xml").read_text())
    allure = {claim: document["status"] for claim, document in allure_results(directory / "results").items()}
    return Run(done.returncode, done.stdout, junit, allure)


def test_junit_has_failures_for_violated_claims_and_errors_for_the_rest(statuses: Run) -> None:
    assert set(statuses.claims_with("failure")) == FAILURES
    assert set(statuses.claims_with("error")) == ERRORS
    assert statuses.claims_with("skipped") == ["C08"]


def test_the_counts_of_the_junit_suite_are_those_of_its_elements(statuses: Run) -> None:
    (suite_element,) = statuses.junit.iter("testsuite")

    counts = {name: int(suite_element.get(name, "")) for name in ("tests", "failures", "errors", "skipped")}
    tags = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
    assert counts == {name: sum(1 for _ in statuses.junit.iter(tag)) for name, tag in tags.items()}
    assert (counts["failures"], counts["errors"]) == (len(FAILURES), len(ERRORS))


def test_a_junit_message_is_the_cause(statuses: Run) -> None:
    messages = {
        case.get("name"): element.get("message", "") + (element.text or "")
        for case in statuses.junit.iter("testcase")
        for element in case
        if element.tag in ("failure", "error")
    }

    assert "C02 does not hold on myk8s-worker2" in messages["test_violated"]
    assert "could not be tested: ClusterError: GET /api/v1/pods" in messages["test_error_in_call"]
    assert "KeyError" in messages["test_mistake"]


def test_junit_has_the_headline_of_a_verdict(statuses: Run) -> None:
    headlines = [entry.get("value") for entry in statuses.junit.iter("property") if entry.get("name") == "headline"]

    assert "100 of 100 from webpod2" in headlines


def test_allure_has_failed_for_violated_claims_and_broken_for_the_rest(statuses: Run) -> None:
    assert statuses.allure == {
        "C01": "passed",
        "C02": "failed",
        "C03": "broken",
        "C04": "broken",
        "C05": "broken",
        "C06": "broken",
        "C07": "failed",
        "C08": "skipped",
    }


def test_the_terminal_counts_the_same(statuses: Run) -> None:
    assert re.search(r"2 failed, 2 passed, 1 skipped, 5 errors in ", statuses.output)
    assert statuses.code == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("claim", "outcomes"), [("C02", ["failed"]), ("C03", ["error"]), ("C04", ["error"]), ("C07", ["failed", "error"])]
)
def test_each_claim_has_lines_with_its_outcomes(statuses: Run, claim: str, outcomes: list[str]) -> None:
    assert re.findall(rf"^(\w+) +{claim} ", statuses.output, re.MULTILINE) == outcomes
