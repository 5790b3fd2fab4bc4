"""Shows the progress of long work, and records how long each of its steps took.

A terminal shows a live line for every step in progress. A log gets a line after the first second of a step, another
every 15 s while the step lasts, and one at its end.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import Progress as LiveDisplay
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_LINE_SECONDS: Final = 1.0
"""The age at which a step gets its first line in a log."""
HEARTBEAT_SECONDS: Final = 15.0
"""The time between two lines of the same step in a log."""


class ProgressStep:
    """A step in progress. ``position`` is its number and the number of steps, both from 1."""

    def __init__(self, name: str, position: tuple[int, int] | None) -> None:
        self.name = name
        self.label = f"[{position[0]}/{position[1]}] {name}" if position else name
        self.detail = ""
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """The age of the step."""
        return time.monotonic() - self._began

    def update(self, detail: str) -> None:
        """Set the detail shown beside the step; cheap enough to be called for every package or chunk."""
        self.detail = detail

    def line(self) -> str:
        """Return name, age and detail as a line for a log."""
        return f"{self.label}: {self.seconds:.1f} s" + (f", {self.detail}" if self.detail else "")


class Progress:
    """Shows steps on one console and records how long they took. Steps may run in several threads at once.

    With ``quiet`` nothing is shown; times are recorded nevertheless. The default console is standard error.
    ``heartbeat`` is the number of seconds between two lines of a step in a log.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        console: Console | None = None,
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._console = console or Console(stderr=True, quiet=quiet, highlight=False)
        self._quiet = quiet
        self._heartbeat = heartbeat
        self._lock = threading.Lock()
        self._timings: list[tuple[str, float]] = []
        self._live: LiveDisplay | None = None

    @property
    def timings(self) -> list[tuple[str, float]]:
        """The name and the seconds of every step that has ended, in the order of their ends."""
        with self._lock:
            return list(self._timings)

    def note(self, text: str) -> None:
        """Print a line of text as it is: without markup and emoji codes."""
        if not self._quiet:
            self._console.print(text, markup=False, emoji=False, soft_wrap=True)

    @contextmanager
    def step(self, name: str, position: tuple[int, int] | None = None) -> Iterator[ProgressStep]:
        """Show a step while the block runs; ``position`` is its number and the number of steps, both from 1."""
        step = ProgressStep(name, position)
        outcome = "failed after "
        try:
            with self._shown(step):
                yield step
            outcome = ""
        finally:
            seconds = step.seconds
            with self._lock:
                self._timings.append((name, seconds))
            tail = f" ({step.detail})" if step.detail else ""
            self.note(f"{step.label}: {outcome}{seconds:.1f} s{tail}")

    @contextmanager
    def _shown(self, step: ProgressStep) -> Iterator[None]:
        if self._quiet:
            yield
            return
        ended = threading.Event()
        show = self._show_live if self._console.is_terminal else self._show_lines
        display = threading.Thread(target=show, args=(step, ended), name=f"progress of {step.name}", daemon=True)
        display.start()
        try:
            yield
        finally:
            ended.set()
            display.join()

    def _show_lines(self, step: ProgressStep, ended: threading.Event) -> None:
        pause = min(FIRST_LINE_SECONDS, self._heartbeat)
        while not ended.wait(pause):
            self.note(step.line())
            pause = self._heartbeat

    def _show_live(self, step: ProgressStep, ended: threading.Event) -> None:
        with self._lock:
            if self._live is None:
                columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
                detail = TextColumn("{task.fields[detail]}", markup=False)
                self._live = LiveDisplay(*columns, detail, console=self._console, refresh_per_second=4, transient=True)
                self._live.start()
            live = self._live
            task = live.add_task(step.label, total=None, detail="")
        while not ended.wait(0.25):
            live.update(task, detail=step.detail)
        with self._lock:
            live.remove_task(task)
            if not live.tasks:
                live.stop()
                self._live = None


def quiet() -> Progress:
    """Return a Progress that shows nothing."""
    return Progress(quiet=True, console=Console(file=sys.stderr, quiet=True))
