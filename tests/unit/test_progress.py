"""Notes are printed as they are."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from session_affinity.progress import Progress


def test_a_note_is_printed_without_markup_and_emoji() -> None:
    """An IPv6 address has parts between colons like an emoji code, and a list has brackets like markup."""
    written = StringIO()
    text = "pods fda1:e50:a682:100::/56 [red] [/]"

    Progress(console=Console(file=written)).note(text)

    assert written.getvalue() == f"{text}\n"
