"""What the API stored and refused, and its warnings."""

from __future__ import annotations

from typing import Any

import pytest

from session_affinity.errors import ClusterError
from session_affinity.kube.reply import ApiAnswer, Reply
from session_affinity.verdicts.api_fields import (
    AFFINITY_REFUSED,
    TIMEOUT_REFUSED,
    judge_refusals,
    judge_stored_affinity,
    judge_warnings,
    warns_of_headless,
    warns_without_reason,
)
from tests.unit.verdicts.conftest import explained

WARNING = "spec.SessionAffinity is ignored for headless services"


def stored(affinity: str, config: dict[str, Any] | None = None, *warnings: str) -> ApiAnswer:
    spec = {"sessionAffinity": affinity, **({} if config is None else {"sessionAffinityConfig": config})}
    return ApiAnswer("a Service", Reply(201, {"spec": spec}, warnings))


def refused(*causes: tuple[str, str], status: int = 422, reason: str = "Invalid") -> ApiAnswer:
    details = {"causes": [{"field": field, "reason": why, "message": "words"} for field, why in causes]}
    return ApiAnswer("a Service", Reply(status, {"reason": reason, "message": "no", "details": details}))


def config(seconds: int) -> dict[str, Any]:
    return {"clientIP": {"timeoutSeconds": seconds}}


def test_a_service_stored_as_requested_holds() -> None:
    verdict = judge_stored_affinity((stored("ClientIP", config(30)), "ClientIP", 30), (stored("None"), "None", None))

    assert verdict.ok
    assert verdict.headline == "ClientIP, 30 s; None, no configuration"


@pytest.mark.parametrize(
    ("answer", "affinity", "seconds", "seen"),
    [
        pytest.param(stored("ClientIP", config(30)), "ClientIP", 10800, "ClientIP, 30 s", id="another timeout"),
        pytest.param(stored("None", config(30)), "None", None, "None, 30 s", id="a timeout under None"),
        pytest.param(stored("ClientIP"), "ClientIP", 10800, "ClientIP, no configuration", id="no timeout"),
        pytest.param(
            stored("ClientIP", {"clientIP": {"timeoutSeconds": 30}, "x": 1}), "ClientIP", 30, "'x': 1", id="more"
        ),
        pytest.param(refused(("spec.x", "FieldValueInvalid")), "ClientIP", 1, "422 Invalid", id="refused"),
        pytest.param(ApiAnswer("empty", Reply(200, {})), "None", None, "no sessionAffinity", id="without the field"),
    ],
)
def test_a_service_stored_otherwise_does_not_hold(
    answer: ApiAnswer, affinity: str, seconds: int | None, seen: str
) -> None:
    verdict = judge_stored_affinity((answer, affinity, seconds))

    assert explained(verdict).startswith("C16 does not hold on the API: ")
    assert seen in explained(verdict).partition("seen:")[2]


def test_a_refusal_for_the_right_field_holds() -> None:
    right = [
        (refused((TIMEOUT_REFUSED.field, TIMEOUT_REFUSED.reason)), TIMEOUT_REFUSED),
        (refused((AFFINITY_REFUSED.field, AFFINITY_REFUSED.reason)), AFFINITY_REFUSED),
    ]

    assert judge_refusals(right).ok


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        pytest.param(stored("ClientIP", config(1)), "stored as ClientIP, 1 s", id="granted"),
        pytest.param(refused(("spec", TIMEOUT_REFUSED.reason)), "spec: FieldValueInvalid", id="another field"),
        pytest.param(refused((TIMEOUT_REFUSED.field, "FieldValueRequired")), "FieldValueRequired", id="another reason"),
        pytest.param(
            refused((TIMEOUT_REFUSED.field, TIMEOUT_REFUSED.reason), ("spec.ports", "FieldValueRequired")),
            "spec.ports",
            id="something else too",
        ),
        pytest.param(
            refused((TIMEOUT_REFUSED.field, TIMEOUT_REFUSED.reason), status=403, reason="Forbidden"),
            "403 Forbidden",
            id="for another reason altogether",
        ),
        pytest.param(refused(), "422 Invalid\n", id="without a cause"),
    ],
)
def test_other_refusals_do_not_hold(answer: ApiAnswer, seen: str) -> None:
    verdict = judge_refusals([(answer, TIMEOUT_REFUSED)])

    assert not verdict.ok
    assert seen in verdict.findings[0].seen + "\n"


@pytest.mark.parametrize(
    ("answer", "is_to_warn", "ok"),
    [
        pytest.param(stored("ClientIP", config(1), WARNING), True, True, id="warned"),
        pytest.param(stored("ClientIP", config(1)), True, False, id="not warned"),
        pytest.param(stored("None", None, WARNING), False, False, id="warned of nothing"),
        pytest.param(stored("None", None, "spec.externalIPs is ignored"), False, True, id="warned of something else"),
        pytest.param(refused(), False, False, id="refused"),
    ],
)
def test_answers_warn_where_they_are_to_warn_and_nowhere_else(answer: ApiAnswer, *, is_to_warn: bool, ok: bool) -> None:
    assert judge_warnings([(answer, is_to_warn)], "v1.37.2").ok is ok


@pytest.mark.parametrize(
    ("version", "warns", "mistaken"),
    [
        ("v1.33.13", False, False),
        ("v1.34.0", True, True),
        ("v1.34.1+k3s1", True, True),
        ("v1.34.2", True, False),
        ("v1.37.0-rc.1", True, False),
    ],
)
def test_what_versions_warn_of(version: str, *, warns: bool, mistaken: bool) -> None:
    assert (warns_of_headless(version), warns_without_reason(version)) == (warns, mistaken)


def test_an_error_names_a_version_that_cannot_be_read() -> None:
    with pytest.raises(ClusterError, match="'latest', which is not of the form"):
        warns_of_headless("latest")
