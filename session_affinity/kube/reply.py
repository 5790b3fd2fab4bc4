"""What the API said to a request: the object, its warnings, and why it refused."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from session_affinity.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Object = dict[str, Any]

NO_CONFIG: Final = "no configuration"
"""Stands for a Service without sessionAffinityConfig."""

# RFC 9110 5.5 and 5.6.4: code, agent, quoted text; the API server's code is 299 and it names itself "-".
_WARNING: Final = re.compile(r'\d{3} \S+ "(?P<text>(?:[^"\\]|\\.)*)"')


class ApiError(ClusterError):
    """The API refused a request or did not answer it; ``status`` is the HTTP status, 0 when there was no answer.

    ``asked_before`` says that the server had left open what became of the same request.
    """

    def __init__(self, what: str, *, status: int = 0, asked_before: bool = False, next_step: str = "") -> None:
        self.status = status
        self.asked_before = asked_before
        super().__init__(what, next_step=next_step)


@dataclass(frozen=True)
class Cause:
    """One reason for a refusal: its kind (``FieldValueInvalid``), the path of the field, and the words."""

    reason: str
    field: str
    message: str


@dataclass(frozen=True)
class Reply:
    """What the API said: ``body`` is the object as stored, or the Status that says why there is none.

    ``warnings`` are the texts of the Warning headers, ``text`` is the whole answer as it came. ``asked_before`` says
    that the server had left open what became of the same request.
    """

    status: int
    body: Object
    warnings: tuple[str, ...] = ()
    text: str = field(default="", repr=False, compare=False)
    asked_before: bool = False

    @property
    def ok(self) -> bool:
        """Whether the request was granted."""
        return 200 <= self.status <= 299

    @property
    def reason(self) -> str:
        """The kind of refusal: ``Invalid``, ``Conflict``."""
        return "" if self.ok else str(self.body.get("reason") or "")

    @property
    def message(self) -> str:
        """Why the request was refused, in the API's words."""
        return "" if self.ok else str(self.body.get("message") or self.body)

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The single reasons of a refusal, as far as the API told them apart."""
        if self.ok:
            return ()
        details = self.body.get("details") or {}
        return tuple(
            Cause(*(str(one.get(name) or "") for name in ("reason", "field", "message")))
            for one in details.get("causes") or ()
        )

    def granted(self, request: str) -> Object:
        """Return the object; raises ApiError naming the request when it was refused."""
        if self.ok:
            return self.body
        raise self.error(request)

    def error(self, request: str) -> ApiError:
        """Return the refusal as an error that names the request."""
        return ApiError(f"{request}: {self.status}: {self.message}", status=self.status, asked_before=self.asked_before)

    def summary(self) -> str:
        """Return status, message and causes in a few lines."""
        if self.ok:
            return f"{self.status}"
        told = [f"{cause.field or 'no field'}: {cause.reason}: {cause.message}" for cause in self.causes]
        return "\n".join((f"{self.status} {self.reason}".rstrip(), *(told or [self.message])))


def read(status: int, content: bytes, warnings: Iterable[str] = (), *, asked_before: bool = False) -> Reply:
    """Read an answer; what is no JSON object is kept as the message of one."""
    text = content.decode(errors="replace")
    try:
        body = json.loads(text or "{}")
    except ValueError:
        body = text
    if not isinstance(body, dict):
        body = {"message": text[:500]}
    return Reply(status, body, tuple(text for header in warnings for text in warning_texts(header)), text, asked_before)


def warning_texts(header: str) -> tuple[str, ...]:
    """Return the texts of one Warning header, which may hold several; one that is malformed is told as it is."""
    found = tuple(re.sub(r"\\(.)", r"\1", one["text"]) for one in _WARNING.finditer(header))
    return found or (header,)


@dataclass(frozen=True)
class ApiAnswer:
    """A request to store a Service, named in a few words, and the API's reply."""

    what: str
    reply: Reply

    @property
    def stored(self) -> str:
        """The affinity as stored, in words; the API's reason where the request was refused."""
        return stored_affinity(self.reply.body.get("spec") or {}) if self.reply.ok else self.reply.summary()


def stored_affinity(spec: Mapping[str, Any]) -> str:
    """Return the affinity of a Service's specification in words, with everything that its configuration contains."""
    config = spec.get("sessionAffinityConfig")
    # A missing field must not read as the value None: the API sets the field of every Service.
    affinity = str(spec.get("sessionAffinity", "no sessionAffinity"))
    timeout = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
    if config == {"clientIP": {"timeoutSeconds": timeout}} and timeout is not None:
        return affinity_text(affinity, timeout)
    return affinity_text(affinity, None) if config is None else f"{affinity}, sessionAffinityConfig {config}"


def affinity_text(affinity: str, timeout_seconds: int | None) -> str:
    """Return an affinity and its timeout in words; ``timeout_seconds`` is None without a configuration."""
    return f"{affinity}, {NO_CONFIG}" if timeout_seconds is None else f"{affinity}, {timeout_seconds} s"
