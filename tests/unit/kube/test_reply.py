"""What is made of an answer of the API."""

from __future__ import annotations

import json

import pytest

from session_affinity.kube.reply import ApiError, Cause, read, warning_texts

REFUSAL = {
    "kind": "Status",
    "reason": "Invalid",
    "message": "Service is invalid",
    "details": {
        "causes": [{"reason": "FieldValueInvalid", "message": "Invalid value: 0", "field": "spec.x"}, {"message": "y"}]
    },
}


def test_what_was_granted_is_the_object() -> None:
    said = read(201, b'{"metadata": {"name": "svc"}}', ['299 - "look out"'])

    assert said.ok
    assert said.granted("POST /x") == {"metadata": {"name": "svc"}}
    assert said.warnings == ("look out",)
    assert (said.reason, said.message, said.causes, said.summary()) == ("", "", (), "201")


def test_a_refusal_tells_field_and_reason() -> None:
    said = read(422, json.dumps(REFUSAL).encode())

    assert said.causes == (Cause("FieldValueInvalid", "spec.x", "Invalid value: 0"), Cause("", "", "y"))
    assert said.summary() == "422 Invalid\nspec.x: FieldValueInvalid: Invalid value: 0\nno field: : y"
    with pytest.raises(ApiError, match="POST /x: 422: Service is invalid") as refused:
        said.granted("POST /x")
    assert refused.value.status == 422


@pytest.mark.parametrize(("content", "told"), [(b"not ready", "not ready"), (b'["a"]', '["a"]'), (b"", "{}")])
def test_what_is_no_object_is_told_as_it_is(content: bytes, told: str) -> None:
    assert read(503, content).message == told
    assert read(503, content).causes == ()


@pytest.mark.parametrize(
    ("header", "texts"),
    [
        ('299 - "spec.SessionAffinity is ignored for headless services"',
         ("spec.SessionAffinity is ignored for headless services",)),
        ('299 - "one", 299 kube "two, \\"quoted\\""', ("one", 'two, "quoted"')),
        ("nonsense", ("nonsense",)),
    ],
)  # fmt: skip
def test_a_warning_header_may_hold_several(header: str, texts: tuple[str, ...]) -> None:
    assert warning_texts(header) == texts
