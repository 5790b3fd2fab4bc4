"""An attachment of the report: a name, a text and its media type."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

MOST_CHARACTERS: Final = 100_000
"""The length of an attachment, so that a browser can open the report."""


class MediaType(Enum):
    """The format of an attachment: its media type, and the extension of its file."""

    TEXT = ("text/plain", "txt")
    CSV = ("text/csv", "csv")
    YAML = ("application/yaml", "yaml")
    SVG = ("image/svg+xml", "svg")

    @property
    def media_type(self) -> str:
        """The media type, by which Allure chooses how to show the attachment."""
        return self.value[0]

    @property
    def extension(self) -> str:
        """The extension of the file's name, without a dot."""
        return self.value[1]


@dataclass(frozen=True)
class Attachment:
    """A named text of the report."""

    name: str
    body: str
    kind: MediaType = MediaType.TEXT


def shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    """Return a text of about ``most`` characters: lines in its middle are replaced by a note with their number."""
    if len(text) <= most:
        return text
    head = text[: most // 2].rpartition("\n")[0] or text[: most // 2]
    tail = text[-(most // 2) :].partition("\n")[2] or text[-(most // 2) :]
    left_out = text[len(head) : len(text) - len(tail)]
    lines = len(left_out.strip().splitlines())
    note = f"... {lines} lines ({len(left_out)} of {len(text)} characters) are left out here ..."
    return f"{head}\n{note}\n{tail}"
