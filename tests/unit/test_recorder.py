"""Observations reach the recorder of the thread that records them, and no other."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from session_affinity import recorder
from session_affinity.recorder import Action

if TYPE_CHECKING:
    from session_affinity.recorder import Event, Recorded

FIRST, SECOND = Action("removed pod webpod1"), Action("removed pod webpod2")


class ListRecorder:
    """Keeps the observations of events."""

    def __init__(self) -> None:
        self.observations: list[Recorded] = []

    def keep(self, event: Event) -> None:
        assert event.began <= event.ended
        self.observations.append(event.observation)


def test_without_a_recorder_nothing_happens() -> None:
    recorder.record(FIRST)


def test_what_is_recorded_inside_the_block_is_kept() -> None:
    kept = ListRecorder()

    with recorder.recording_to(kept):
        recorder.record(FIRST, since=0.0)
    recorder.record(SECOND)

    assert kept.observations == [FIRST]


def test_suppressed_events_are_not_kept() -> None:
    kept = ListRecorder()

    with recorder.recording_to(kept):
        with recorder.suppressed():
            recorder.record(FIRST)
        recorder.record(SECOND)

    assert kept.observations == [SECOND]


def test_other_threads_record_nothing() -> None:
    kept = ListRecorder()

    with recorder.recording_to(kept):
        other = threading.Thread(target=recorder.record, args=(FIRST,))
        other.start()
        other.join()

    assert kept.observations == []


def test_the_previous_recorder_is_restored_after_an_error() -> None:
    kept = ListRecorder()

    with pytest.raises(ZeroDivisionError), recorder.recording_to(kept):
        _ = 1 / 0
    recorder.record(SECOND)

    assert kept.observations == []


def test_kept_events_become_evidence_of_the_test_that_asks_for_them() -> None:
    kept, evidence = recorder.Kept(), ListRecorder()
    with recorder.recording_to(kept):
        recorder.record(FIRST)
        recorder.record(SECOND)

    kept.record()  # without a recorder nothing happens
    with recorder.recording_to(evidence):
        kept.record()

    assert evidence.observations == [FIRST, SECOND]
