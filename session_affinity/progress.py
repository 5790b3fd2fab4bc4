"""What a long piece of work says while it goes on, and how long each step of it took.

On a terminal every step in progress has a live line; elsewhere a step that lasts says so in lines a log can keep.
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
HEARTBEAT_SECONDS: Final = 15.0


class ProgressStep:
    """A piece of work that has begun and not ended."""

    def __init__(self, name: str, position: tuple[int, int] | None) -> None:
        self.name = name
        self.label = f"[{position[0]}/{position[1]}] {name}" if position else name
        self.detail = ""
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return time.monotonic() - self._began

    def update(self, detail: str) -> None:
        """Say how far it is; cheap enough to be called for every package or chunk."""
        self.detail = detail

    def line(self) -> str:
        """Name, elapsed time and how far it is, for a log."""
        return f"{self.label}: {self.seconds:.1f} s" + (f", {self.detail}" if self.detail else "")


class Progress:
    """Tells of steps on one console and records how long they took. Steps may run in several threads at once.

    ``quiet`` says nothing; times are recorded all the same. The console is standard error unless one is given.
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
        """Every ended step with its seconds, in the order of their ends."""
        with self._lock:
            return list(self._timings)

    def note(self, text: str) -> None:
        """Say something worth a line of its own."""
        if not self._quiet:
            self._console.print(text, markup=False, emoji=False, soft_wrap=True)

    @contextmanager
    def step(self, name: str, position: tuple[int, int] | None = None) -> Iterator[ProgressStep]:
        """Tell of a step while the block runs; ``position`` is which of how many, from 1."""
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
        teller = threading.Thread(target=show, args=(step, ended), name=f"progress of {step.name}", daemon=True)
        teller.start()
        try:
            yield
        finally:
            ended.set()
            teller.join()

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
    """Return a Progress that says nothing."""
    return Progress(quiet=True, console=Console(file=sys.stderr, quiet=True))
