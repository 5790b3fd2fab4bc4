"""Texts are cut in their middle, and say so."""

from __future__ import annotations

from session_affinity.report.attachment import MediaType, shortened


def test_a_short_text_stays_as_it_is() -> None:
    assert shortened("one\ntwo\n", 8) == "one\ntwo\n"


def test_a_long_text_keeps_its_ends_in_whole_lines() -> None:
    text = "".join(f"line {number}\n" for number in range(1000))

    cut = shortened(text, 200)

    assert len(cut) < 300
    first, *_, last = cut.splitlines()
    assert (first, last) == ("line 0", "line 999")
    assert all(line.startswith(("line ", "... ")) for line in cut.splitlines())


def test_it_says_how_much_is_left_out() -> None:
    text = "".join(f"line {number:03}\n" for number in range(100))

    (note,) = [line for line in shortened(text, 90).splitlines() if line.startswith("...")]

    kept = sum(line.startswith("line") for line in shortened(text, 90).splitlines())
    assert f"{100 - kept} lines" in note
    assert f"of {len(text)} characters" in note


def test_one_endless_line_is_cut_as_well() -> None:
    assert len(shortened("x" * 1000, 100)) < 250


def test_kinds_say_how_the_report_shows_them() -> None:
    assert (MediaType.SVG.media_type, MediaType.SVG.extension) == ("image/svg+xml", "svg")
    assert (MediaType.CSV.media_type, MediaType.CSV.extension) == ("text/csv", "csv")
