"""Reading replies of the API."""

from __future__ import annotations

import json

import pytest

from session_affinity.kube.reply import ApiError, Cause, read_reply, warning_texts

REFUSAL = {
    "kind": "Status",
    "reason": "Invalid",
    "message": "Service is invalid",
    "details": {
        "causes": [{"reason": "FieldValueInvalid", "message": "Invalid value: 0", "field": "spec.x"}, {"message": "y"}]
    },
}


def test_a_granted_request_returns_the_object_and_warnings() -> None:
    reply = read_reply(201, b'{"metadata": {"name": "svc"}}', ['299 - "look out"'])

    assert reply.ok
    assert reply.granted("POST /x") == {"metadata": {"name": "svc"}}
    assert reply.warnings == ("look out",)
    assert (reply.reason, reply.message, reply.causes, reply.summary()) == ("", "", (), "201")


def test_a_refusal_has_fields_and_reasons() -> None:
    reply = read_reply(422, json.dumps(REFUSAL).encode())

    assert reply.causes == (Cause("FieldValueInvalid", "spec.x", "Invalid value: 0"), Cause("", "", "y"))
    assert reply.summary() == "422 Invalid\nspec.x: FieldValueInvalid: Invalid value: 0\nno field: : y"
    with pytest.raises(ApiError, match="POST /x: 422: Service is invalid") as caught:
        reply.granted("POST /x")
    assert caught.value.status == 422


@pytest.mark.parametrize(("content", "message"), [(b"not ready", "not ready"), (b'["a"]', '["a"]'), (b"", "{}")])
def test_a_body_that_is_no_object_is_the_message(content: bytes, message: str) -> None:
    assert read_reply(503, content).message == message
    assert read_reply(503, content).causes == ()


@pytest.mark.parametrize(
    ("header", "texts"),
    [
        ('299 - "spec.SessionAffinity is ignored for headless services"',
         ("spec.SessionAffinity is ignored for headless services",)),
        ('299 - "one", 299 kube "two, \\"quoted\\""', ("one", 'two, "quoted"')),
        ("nonsense", ("nonsense",)),
    ],
)  # fmt: skip
def test_a_warning_header_may_have_several_texts(header: str, texts: tuple[str, ...]) -> None:
    assert warning_texts(header) == texts
