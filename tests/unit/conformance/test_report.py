"""The conformance report and its checks."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.conformance import report
from session_affinity.conformance.implementation import Implementation
from session_affinity.conformance.result import Outcome, SkipReason
from session_affinity.errors import SuiteError, UsageError
from tests.unit.conformance.conftest import run_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from session_affinity.claims.catalogue import ClaimTest
    from session_affinity.conformance.report import RunDescription


def profile(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    return next(dict(profile) for profile in document["profiles"] if profile["name"] == name)


@pytest.fixture
def document(catalogue: Mapping[str, ClaimTest], description: RunDescription) -> dict[str, Any]:
    return report.document(run_of(C61=SkipReason.NOT_APPLICABLE), catalogue, description)


@pytest.mark.parametrize("name", ["report.yaml", "report.json"])
def test_a_report_is_valid_and_survives_writing_and_reading(
    document: dict[str, Any], catalogue: Mapping[str, ClaimTest], tmp_path: Path, name: str
) -> None:
    report.write(document, tmp_path / name)

    assert report.read(tmp_path / name) == document
    assert report.problems(document, catalogue) == ()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda it: it["claims"].pop(), "5 of the catalogue's 6 claims"),
        (lambda it: it["claims"].append(it["claims"][0]), "C10 is there more than once"),
        (lambda it: it["claims"][0].update(result="fine"), "'fine' is not one of"),
        (lambda it: it["claims"][0].pop("seconds"), "'seconds' is a required property"),
        (lambda it: it["summary"].update(passed=1), "1 passed, and 5 in the list"),
        (lambda it: it["implementation"].update(version="main"), "is a branch"),
        (lambda it: it.pop("access"), "'access' is a required property"),
        (lambda it: it.update(edited=True), "'edited' was unexpected"),
        (lambda it: it["claims"][2].pop("reason"), "'reason' is a required property"),
        (lambda it: it.update(date="yesterday"), "'yesterday' does not match"),
        (
            lambda it: it["profiles"][0].update(result="partial"),
            "its result is partial, and its claims make it success",
        ),
        (lambda it: it["profiles"][0]["failed"].append("C10"), "C10 is failed in it, and not in the list of claims"),
        (lambda it: it["profiles"][0]["failed"].append("C10"), "0 failed of the core, and 1 in its list"),
        (lambda it: it["profiles"][0]["supportedFeatures"].append("dualStack"), "the feature dualStack is supported"),
    ],
)
def test_a_report_that_was_edited_is_refused(
    document: dict[str, Any],
    catalogue: Mapping[str, ClaimTest],
    change: Callable[[dict[str, Any]], object],
    problem: str,
) -> None:
    edited = copy.deepcopy(document)
    change(edited)

    assert problem in "\n".join(report.problems(edited, catalogue))
    with pytest.raises(SuiteError, match="never edited"):
        report.require_valid(edited, "report.yaml", catalogue)


def test_a_claim_that_was_exchanged_is_missed(document: dict[str, Any], catalogue: Mapping[str, ClaimTest]) -> None:
    document["claims"][0]["id"] = "C99"

    assert report.problems(document) == ()
    assert report.problems(document, catalogue) == (
        "claims: C10 is missing",
        "claims: C99 is no claim of the catalogue",
    )


def test_results_that_lack_a_claim_make_no_report(
    catalogue: Mapping[str, ClaimTest], description: RunDescription
) -> None:
    run = run_of()

    with pytest.raises(SuiteError, match="C40 is missing"):
        report.document(replace(run, claims=run.claims[:-1]), catalogue, description)


@pytest.mark.parametrize(
    ("outcomes", "result"),
    [
        ({}, "success"),
        ({"C10": Outcome.FAILED, "C24": Outcome.UNDETERMINED}, "failure"),
        ({"C24": Outcome.UNDETERMINED}, "undetermined"),
        ({"C24": SkipReason.DESELECTED}, "partial"),
        ({"C24": SkipReason.NOT_APPLICABLE}, "success"),
        ({"C10": Outcome.DIFFERS}, "failure"),
        ({"C61": Outcome.FAILED}, "success"),
    ],
)
def test_the_core_of_the_api_profile(
    catalogue: Mapping[str, ClaimTest],
    description: RunDescription,
    outcomes: dict[str, Outcome | SkipReason],
    result: str,
) -> None:
    document = report.document(run_of(**outcomes), catalogue, description)

    assert profile(document, "api")["result"] == result


def test_a_difference_from_kube_proxy_fails_no_profile(
    catalogue: Mapping[str, ClaimTest], description: RunDescription
) -> None:
    document = report.document(run_of(C16=Outcome.DIFFERS), catalogue, description)

    found = profile(document, "kube-proxy-iptables")
    assert (found["result"], found["differs"]) == ("success", ["C16"])


def test_a_feature_whose_claims_were_skipped_is_not_supported(
    catalogue: Mapping[str, ClaimTest], description: RunDescription
) -> None:
    document = report.document(run_of(C61=SkipReason.NOT_APPLICABLE), catalogue, description)

    assert profile(document, "api")["supportedFeatures"] == ["loadBalancerAddress"]
    assert profile(document, "kube-proxy-iptables")["supportedFeatures"] == ["recovery"]


def test_a_dataplane_that_is_not_kube_proxy_has_no_profile_of_it(
    catalogue: Mapping[str, ClaimTest], description: RunDescription
) -> None:
    document = report.document(run_of(), catalogue, replace(description, proxy_mode="none"))

    assert [profile["name"] for profile in document["profiles"]] == ["api"]


def test_the_bound_on_false_alarms_is_that_of_the_judged_claims(
    catalogue: Mapping[str, ClaimTest], description: RunDescription
) -> None:
    assert report.document(run_of(), catalogue, description)["falseAlarmBound"] == pytest.approx(1e-8)
    skipped = report.document(run_of(C24=SkipReason.DESELECTED), catalogue, description)
    assert skipped["falseAlarmBound"] == 0


def test_a_file_that_is_no_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("kind: Pod\n")

    with pytest.raises(UsageError, match="is no SessionAffinityReport"):
        report.read(tmp_path / "x.yaml")


@pytest.mark.parametrize("version", ["main", "HEAD", "nightly"])
def test_a_branch_is_no_version(version: str) -> None:
    with pytest.raises(UsageError, match="is a branch"):
        Implementation(version=version)
