"""What is told of long work, and that its times are kept."""

from __future__ import annotations

import io
import threading
import time

import pytest
from rich.console import Console

from affinity.progress import Progress, quiet

pytestmark = pytest.mark.unit


def test_a_quick_step_is_one_line(progress: Progress, said: io.StringIO) -> None:
    with progress.step("start etcd", position=(2, 5)) as step:
        step.update("ready [1]")

    assert said.getvalue() == "[2/5] start etcd: 0.0 s (ready [1])\n"


def test_a_long_step_tells_how_far_it_is(said: io.StringIO) -> None:
    progress = Progress(console=Console(file=said, width=80), heartbeat=0.02)

    with progress.step("build kubelet") as step:
        step.update("812 packages")
        time.sleep(0.05)

    first, *_, last = said.getvalue().splitlines()
    assert first == "build kubelet: 0.0 s, 812 packages"
    assert last == "build kubelet: 0.1 s (812 packages)"


def test_a_step_that_fails_says_so_and_is_timed(progress: Progress, said: io.StringIO) -> None:
    with pytest.raises(KeyError), progress.step("build kubelet"):
        raise KeyError

    assert said.getvalue() == "build kubelet: failed after 0.0 s\n"
    assert [name for name, _ in progress.timings] == ["build kubelet"]


def test_times_are_recorded_quietly_too(capsys: pytest.CaptureFixture[str]) -> None:
    progress = quiet()

    with progress.step("outer"), progress.step("inner"):
        progress.note("nothing")
        time.sleep(0.01)

    assert [name for name, _ in progress.timings] == ["inner", "outer"]
    assert all(0.01 <= seconds < 1 for _, seconds in progress.timings)
    assert capsys.readouterr() == ("", "")


def test_steps_of_several_threads_share_a_terminal() -> None:
    screen = io.StringIO()
    progress = Progress(console=Console(file=screen, force_terminal=True, width=80, color_system=None))

    def work(name: str) -> None:
        with progress.step(name) as step:
            step.update("half")

    threads = [threading.Thread(target=work, args=(f"node {number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with progress.step("after"):
        pass

    assert all(f"node {number}: 0.0 s (half)" in screen.getvalue() for number in range(3))
    assert "after: 0.0 s" in screen.getvalue()
    assert len(progress.timings) == 4
