"""Which manager owns the fields of a Service's affinity after server-side apply."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from session_affinity.kube.reply import ApiAnswer, Reply
from session_affinity.verdicts.server_side_apply import TIMEOUT_PATH, ApplyConflict, judge_apply_conflict, owners

AFFINITY = {"f:sessionAffinity": {}}
TIMEOUT = {"f:sessionAffinityConfig": {"f:clientIP": {"f:timeoutSeconds": {}}}}
FIRST, SECOND = MANAGERS = ("first", "second")


def stored(seconds: int, **fields: dict[str, Any]) -> ApiAnswer:
    managed = [{"manager": name, "operation": "Apply", "fieldsV1": {"f:spec": owned}} for name, owned in fields.items()]
    spec = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}}
    return ApiAnswer("a step", Reply(200, {"metadata": {"managedFields": managed}, "spec": spec}))


def conflict(*fields: str, message: str = 'conflict with "first"', status: int = 409) -> ApiAnswer:
    causes = [{"field": field, "reason": "FieldManagerConflict", "message": message} for field in fields]
    body = {"reason": "Conflict", "message": message, "details": {"causes": causes}}
    return ApiAnswer("the conflict", Reply(status, body))


BOTH = {**AFFINITY, **TIMEOUT}
RIGHT = ApplyConflict(
    first=stored(600, first=BOTH),
    refused=conflict(TIMEOUT_PATH),
    kept=stored(600, first=BOTH),
    forced=stored(30, first=AFFINITY, second=TIMEOUT),
    managers=(FIRST, SECOND),
    timeouts=(600, 30),
)


def test_owners_are_read_from_managed_fields() -> None:
    service = stored(30, second=TIMEOUT, first=BOTH).reply.body
    updated = {"manager": "third", "operation": "Update", "fieldsV1": {"f:spec": BOTH}}
    service["metadata"]["managedFields"].append(updated)

    assert owners(service, "timeoutSeconds") == MANAGERS
    assert owners(service, "sessionAffinity") == (FIRST,)
    assert owners({}, "sessionAffinity") == ()


def test_what_apply_promises_holds() -> None:
    assert judge_apply_conflict(RIGHT).ok


@pytest.mark.parametrize(
    ("wrong", "seen"),
    [
        pytest.param({"first": stored(10800, first=BOTH)}, "ClientIP, 10800 s", id="not stored"),
        pytest.param({"first": stored(600, first=AFFINITY)}, "timeoutSeconds owned by no manager", id="not owned"),
        pytest.param({"refused": stored(30)}, "stored as ClientIP, 30 s", id="no conflict"),
        pytest.param({"refused": conflict()}, "409 Conflict", id="no field"),
        pytest.param({"refused": conflict(TIMEOUT_PATH, ".spec.ports")}, ".spec.ports", id="another field too"),
        pytest.param({"refused": conflict(TIMEOUT_PATH, message="by x")}, "by x", id="another manager"),
        pytest.param({"refused": conflict(TIMEOUT_PATH, status=422)}, "422", id="another refusal"),
        pytest.param({"kept": stored(30, first=BOTH)}, "ClientIP, 30 s", id="changed all the same"),
        pytest.param({"forced": stored(600, first=AFFINITY, second=TIMEOUT)}, "ClientIP, 600 s", id="not forced"),
        pytest.param({"forced": stored(30, first=BOTH, second=TIMEOUT)}, "owned by first, second", id="shared"),
    ],
)
def test_anything_else_does_not(wrong: dict[str, ApiAnswer], seen: str) -> None:
    verdict = judge_apply_conflict(replace(RIGHT, **wrong))

    (finding,) = verdict.findings
    assert seen in finding.seen
