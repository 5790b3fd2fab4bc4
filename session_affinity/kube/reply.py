"""Replies of the API: the object, its warnings, or the reason of a refusal."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from session_affinity.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Object = dict[str, Any]

FORBIDDEN: Final = 403
"""The HTTP status of a request that the user has no right to."""
NO_CONFIG: Final = "no configuration"
"""The words for a Service without sessionAffinityConfig."""

# RFC 9110 5.5 and 5.6.4: code, agent, quoted text; the API server writes code 299 and agent "-".
_WARNING: Final = re.compile(r'\d{3} \S+ "(?P<text>(?:[^"\\]|\\.)*)"')


class ApiError(ClusterError):
    """The API refused a request or did not answer it; ``status`` is the HTTP status, 0 if there was no answer."""

    def __init__(self, what: str, *, status: int = 0, next_step: str = "") -> None:
        self.status = status
        super().__init__(what, next_step=next_step)


@dataclass(frozen=True)
class Cause:
    """One reason for a refusal: its kind (``FieldValueInvalid``), the path of the field, and the message."""

    reason: str
    field: str
    message: str


@dataclass(frozen=True)
class Reply:
    """A reply of the API: ``body`` is the object as stored, or the Status that has the reason of a refusal.

    ``warnings`` are the texts of the Warning headers, ``text`` is the unparsed body. ``is_retry`` says that an earlier
    attempt of the same request got a reply that leaves open whether it was carried out.
    """

    status: int
    body: Object
    warnings: tuple[str, ...] = ()
    text: str = field(default="", repr=False, compare=False)
    is_retry: bool = False

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
        """The API's message about a refusal."""
        return "" if self.ok else str(self.body.get("message") or self.body)

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The reasons of a refusal, as far as the API lists them."""
        if self.ok:
            return ()
        details = self.body.get("details") or {}
        return tuple(
            Cause(*(str(cause.get(name) or "") for name in ("reason", "field", "message")))
            for cause in details.get("causes") or ()
        )

    def granted(self, request: str) -> Object:
        """Return the object; raises ApiError that names ``request`` if it was refused."""
        if self.ok:
            return self.body
        raise self.error(request)

    def error(self, request: str) -> ApiError:
        """Return the refusal as an error that names ``request``."""
        return ApiError(f"{request}: {self.status}: {self.message}", status=self.status)

    def summary(self) -> str:
        """Return status, message and causes in a few lines."""
        if self.ok:
            return f"{self.status}"
        causes = [f"{cause.field or 'no field'}: {cause.reason}: {cause.message}" for cause in self.causes]
        return "\n".join((f"{self.status} {self.reason}".rstrip(), *(causes or [self.message])))


def read_reply(status: int, content: bytes, warnings: Iterable[str] = (), *, is_retry: bool = False) -> Reply:
    """Return a reply from status, body and Warning headers; a body that is no JSON object becomes its message."""
    text = content.decode(errors="replace")
    try:
        body = json.loads(text or "{}")
    except ValueError:
        body = text
    if not isinstance(body, dict):
        body = {"message": text[:500]}
    return Reply(status, body, tuple(text for header in warnings for text in warning_texts(header)), text, is_retry)


def warning_texts(header: str) -> tuple[str, ...]:
    """Return the texts of a Warning header, which may have several; a malformed header is returned unchanged."""
    texts = tuple(re.sub(r"\\(.)", r"\1", warning["text"]) for warning in _WARNING.finditer(header))
    return texts or (header,)


@dataclass(frozen=True)
class ApiAnswer:
    """A request to the API about a Service, described by ``what`` in a few words, and the reply to it."""

    what: str
    reply: Reply

    @property
    def stored(self) -> str:
        """The affinity as stored, in words; status and reason if the request was refused."""
        return stored_affinity(self.reply.body.get("spec") or {}) if self.reply.ok else self.reply.summary()


def stored_affinity(spec: Mapping[str, Any]) -> str:
    """Return a Service's affinity and its whole sessionAffinityConfig in words, from the Service's ``spec``."""
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
