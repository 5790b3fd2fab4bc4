"""A piece of evidence as the report keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

MOST_CHARACTERS: Final = 100_000
"""What one attachment may have, so that a report stays small enough to be opened."""


class MediaType(Enum):
    """What an attachment is: its media type, and how the name of its file ends."""

    TEXT = ("text/plain", "txt")
    CSV = ("text/csv", "csv")
    YAML = ("application/yaml", "yaml")
    SVG = ("image/svg+xml", "svg")

    @property
    def media_type(self) -> str:
        """The media type, which decides how the report shows it."""
        return self.value[0]

    @property
    def extension(self) -> str:
        """How the file's name ends."""
        return self.value[1]


@dataclass(frozen=True)
class Attachment:
    """Something to look at, with a name that says what."""

    name: str
    body: str
    kind: MediaType = MediaType.TEXT


def shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    """Return a text of at most about ``most`` characters: whole lines are left out of its middle, and it says so."""
    if len(text) <= most:
        return text
    head = text[: most // 2].rpartition("\n")[0] or text[: most // 2]
    tail = text[-(most // 2) :].partition("\n")[2] or text[-(most // 2) :]
    left_out = text[len(head) : len(text) - len(tail)]
    lines = len(left_out.strip().splitlines())
    note = f"... {lines} lines ({len(left_out)} of {len(text)} characters) are left out here ..."
    return f"{head}\n{note}\n{tail}"
