"""What is told reaches the keeper of the thread that tells it, and no other."""

from __future__ import annotations

import threading

import pytest

from session_affinity import recorder
from session_affinity.recorder import Action, Event


class Kept:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.what: list[object] = []

    def keep(self, sighting: Event) -> None:
        assert sighting.began <= sighting.ended
        self.what.append(sighting.what)


def test_without_a_keeper_nothing_happens() -> None:
    recorder.record(Action("something"))


def test_a_keeper_has_what_is_told_in_its_block() -> None:
    kept = Kept()

    with recorder.recording_to(kept):
        recorder.record("inside", since=0.0)
    recorder.record("outside")

    assert kept.what == ["inside"]


def test_parts_of_what_is_told_as_a_whole_go_untold() -> None:
    kept = Kept()

    with recorder.recording_to(kept):
        with recorder.suppressed():
            recorder.record("a part")
        recorder.record("the whole")

    assert kept.what == ["the whole"]


def test_other_threads_tell_nothing() -> None:
    kept = Kept()

    with recorder.recording_to(kept):
        other = threading.Thread(target=recorder.record, args=("from there",))
        other.start()
        other.join()

    assert kept.what == []


def test_a_keeper_gives_way_also_when_the_block_fails() -> None:
    kept = Kept()

    with pytest.raises(ZeroDivisionError), recorder.recording_to(kept):
        _ = 1 / 0
    recorder.record("outside")

    assert kept.what == []


def test_many_names_are_told_by_the_first_few() -> None:
    assert recorder.listed(["a", "b"]) == "a, b"
    assert recorder.listed(list("abcdef")) == "a, b, c, d and 2 more"
