"""The measurement of a run: processes, spans and tables."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ci.performance import processes
from ci.performance.processes import ProcessTimes, Sampler, Usage
from ci.performance.tables import tables
from ci.performance.timeline import Span, Timeline

if TYPE_CHECKING:
    import pytest

STAT = "42 (kube-proxy (x)) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 30 20 20 0 9 0 100 1 1 0"


def test_a_process_has_its_own_time_and_that_of_its_children() -> None:
    process = processes.parse(STAT, "/opt/bin/kube-proxy\0--config=a\0")

    assert (process.program, process.parent) == ("kube-proxy", 7)
    assert (process.own, process.children) == (200 / processes.TICKS, 50 / processes.TICKS)


def test_a_process_without_a_command_line_has_the_name_in_its_status() -> None:
    assert processes.parse(STAT, "").program == "kube-proxy (x)"


def test_only_descendants_count_and_a_child_that_ended_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest_run, unrelated = ProcessTimes("python", 1, 2.0, 0.0), ProcessTimes("other", 1, 9.0, 0.0)
    child = ProcessTimes("nft", 10, 0.5, 0.25)
    samples = iter([{10: pytest_run, 11: child, 12: unrelated}, {10: ProcessTimes("python", 1, 3.0, 1.0)}])
    monkeypatch.setattr(processes, "all_processes", lambda: next(samples))
    sampler = Sampler(10)
    sampler._sample()
    sampler._sample()

    # Of the second that python's children took, 0.75 are those of nft and of its own child.
    programs = {"python": 3.0, "nft": 0.5, "short-lived children of python": 0.25, "short-lived children of nft": 0.25}
    assert sampler.usage().programs == programs


def test_a_sampler_sees_this_process() -> None:
    found = processes.all_processes()

    assert any("python" in process.program for process in found.values())
    assert processes.idle_seconds() >= 0


def test_a_span_does_not_have_the_time_of_those_inside() -> None:
    timeline = Timeline()
    with timeline.span("C10", "set-up"), timeline.span("client", "fixture"):
        pass

    inner, outer = timeline.spans
    assert (inner.name, outer.name) == ("client", "C10")
    assert outer.seconds >= 0


def test_waits_count_once_and_only_in_the_thread_of_the_tests() -> None:
    timeline = Timeline()

    def answer() -> int:
        return 3

    inner = timeline.waits("requests to the API", answer)
    outer = timeline.waits("nodes in sync", inner)
    with timeline.span("C10", "test"):
        assert outer() == 3
        thread = threading.Thread(target=inner)
        thread.start()
        thread.join()

    assert list(timeline.spans[0].waits) == ["nodes in sync"]
    assert timeline.calls == {"nodes in sync": 1, "requests to the API": 2}


def test_the_tables_have_programs_waits_and_claims() -> None:
    spans = [
        Span("cluster", "fixture", 100.0, 5.0, 0.5, {}),
        Span("C10", "test", 106.0, 1.5, 0.1, {"nodes in sync": 1.25}),
        Span("C11", "test", 108.0, 0.1, 0.1, {}),
    ]

    text = tables(spans, {"nodes in sync": 7}, Usage({"kube-proxy": 7.0, "true": 0.1}, idle=4.0), 20.0, 2)

    assert text.startswith("Whole run 20.0 s; processor time 7.1 s; idle 4.0 s of 40.0 s on 2 processors.")
    for row in (
        "| kube-proxy | 7.0 |",
        "| waiting for nodes in sync | 1.2 | 7 |",
        "| 0.0 | fixture cluster | 5.0 | 0.5 |  |",
        "| 6.0 | C10 | 1.5 | 0.1 | nodes in sync 1.2 |",
        "|  | all shorter than 0.3 s | 0.1 |  |  |",
    ):
        assert row in text.splitlines()
    assert "true" not in text
