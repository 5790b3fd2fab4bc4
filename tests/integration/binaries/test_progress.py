"""The progress lines of steps, and the record of their times."""

from __future__ import annotations

import io
import re
import threading
import time

import pytest
from rich.console import Console

from session_affinity.progress import Progress, quiet

pytestmark = pytest.mark.unit


def test_a_short_step_is_one_line(progress: Progress, progress_output: io.StringIO) -> None:
    with progress.step("start etcd", position=(2, 5)) as step:
        step.update("ready [1]")

    assert re.fullmatch(r"\[2/5\] start etcd: \d\.\d s \(ready \[1\]\)\n", progress_output.getvalue())


def test_a_long_step_prints_its_detail_while_it_lasts(progress_output: io.StringIO) -> None:
    progress = Progress(console=Console(file=progress_output, width=80), heartbeat=0.02)

    with progress.step("build kubelet") as step:
        step.update("812 packages")
        time.sleep(0.05)

    first, *_, last = progress_output.getvalue().splitlines()
    assert re.fullmatch(r"build kubelet: \d\.\d s, 812 packages", first)
    assert re.fullmatch(r"build kubelet: \d\.\d s \(812 packages\)", last)


def test_a_failed_step_is_marked_and_timed(progress: Progress, progress_output: io.StringIO) -> None:
    with pytest.raises(KeyError), progress.step("build kubelet"):
        raise KeyError

    assert re.fullmatch(r"build kubelet: failed after \d\.\d s\n", progress_output.getvalue())
    assert [name for name, _ in progress.timings] == ["build kubelet"]


def test_times_are_recorded_in_quiet_mode_too(capsys: pytest.CaptureFixture[str]) -> None:
    progress = quiet()

    with progress.step("outer"), progress.step("inner"):
        progress.note("nothing")
        time.sleep(0.01)

    assert [name for name, _ in progress.timings] == ["inner", "outer"]
    assert all(0.01 <= seconds < 60 for _, seconds in progress.timings)
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

    assert len(re.findall(r"node \d: \d\.\d s \(half\)", screen.getvalue())) == 3
    assert re.search(r"after: \d\.\d s", screen.getvalue())
    assert len(progress.timings) == 4
