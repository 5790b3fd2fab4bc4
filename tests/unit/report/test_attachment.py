"""Long texts are shortened in their middle, with a note."""

from __future__ import annotations

from session_affinity.report.attachment import MediaType, shortened


def test_a_short_text_is_unchanged() -> None:
    assert shortened("one\ntwo\n", 8) == "one\ntwo\n"


def test_a_long_text_keeps_its_ends_in_whole_lines() -> None:
    text = "".join(f"line {number}\n" for number in range(1000))

    cut = shortened(text, 200)

    assert len(cut) < 300
    first, *_, last = cut.splitlines()
    assert (first, last) == ("line 0", "line 999")
    assert all(line.startswith(("line ", "... ")) for line in cut.splitlines())


def test_the_note_has_the_number_of_lines_left_out() -> None:
    text = "".join(f"line {number:03}\n" for number in range(100))

    (note,) = [line for line in shortened(text, 90).splitlines() if line.startswith("...")]

    kept = sum(line.startswith("line") for line in shortened(text, 90).splitlines())
    assert f"{100 - kept} lines" in note
    assert f"of {len(text)} characters" in note


def test_a_single_long_line_is_shortened_too() -> None:
    assert len(shortened("x" * 1000, 100)) < 250


def test_media_types_have_an_extension() -> None:
    assert (MediaType.SVG.media_type, MediaType.SVG.extension) == ("image/svg+xml", "svg")
    assert (MediaType.CSV.media_type, MediaType.CSV.extension) == ("text/csv", "csv")
