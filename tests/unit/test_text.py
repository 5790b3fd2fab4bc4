"""Long lists are shortened, with the number of items left out."""

from __future__ import annotations

from session_affinity.text import first_lines, first_text, listed, moment


def test_a_long_list_of_names_ends_with_the_number_left_out() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdef")) == "a, b, c, d and 2 more"


def test_a_long_list_of_lines_ends_with_the_number_left_out() -> None:
    assert first_lines(["a", "b"], 2) == ["a", "b"]
    assert first_lines(["a", "b", "c"], 2) == ["a", "b", "and 1 more like these"]


def test_the_first_text_has_the_number_of_the_others() -> None:
    assert first_text(["a"]) == "a"
    assert first_text(["a", "b", "c"]) == "a (and 2 more)"


def test_an_unknown_moment_is_empty() -> None:
    assert (moment(1.0), moment(None)) == ("1.00", "")
