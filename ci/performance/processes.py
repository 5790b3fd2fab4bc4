"""The processor time of a process and all its descendants, by program, sampled while they run."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

PAUSE: Final = 0.5
"""Seconds between two samples."""
TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class ProcessTimes:
    """The processor seconds of a process, and those of its children that have ended and that it has waited for."""

    program: str
    parent: int
    own: float
    children: float


@dataclass(frozen=True)
class Usage:
    """Processor seconds by program, and the seconds in which a processor of the machine had nothing to do."""

    programs: Mapping[str, float] = field(default_factory=dict)
    idle: float = 0.0

    @property
    def total(self) -> float:
        """The processor seconds of all programs."""
        return sum(self.programs.values())


class Sampler:
    """Samples a process and its descendants until the block ends.

    What a process does between the last sample and its end is missed, unless its parent waits for it.
    """

    def __init__(self, process: int) -> None:
        self._root = process
        self._seen: dict[int, ProcessTimes] = {}
        self._present: set[int] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="processes", daemon=True)
        self._idle = idle_seconds()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def usage(self) -> Usage:
        """Return what was used until now; what a program's children used that ended unseen stands by itself."""
        seen = dict(self._seen)
        counted: dict[int, float] = defaultdict(float)
        for pid in seen.keys() - self._present:
            # Its parent has waited for it, and has its time too.
            counted[seen[pid].parent] += seen[pid].own + seen[pid].children
        programs: dict[str, float] = defaultdict(float)
        for pid, process in seen.items():
            programs[process.program] += process.own
            programs[f"short-lived children of {process.program}"] += max(process.children - counted[pid], 0.0)
        return Usage(dict(programs), idle_seconds() - self._idle)

    def _run(self) -> None:
        while not self._ended.wait(PAUSE):
            self._sample()

    def _sample(self) -> None:
        present = all_processes()
        children: dict[int, list[int]] = defaultdict(list)
        for pid, process in present.items():
            children[process.parent].append(pid)
        self._present = set(present)
        left = [self._root]
        while left:
            pid = left.pop()
            if pid in present:
                self._seen[pid] = present[pid]
            left += children[pid]


def all_processes() -> dict[int, ProcessTimes]:
    """Return the processes of the machine by id."""
    found: dict[int, ProcessTimes] = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            found[int(directory.name)] = parse(
                (directory / "stat").read_text(), (directory / "cmdline").read_bytes().decode(errors="replace")
            )
        except (OSError, ValueError):
            continue
    return found


def parse(stat: str, command_line: str) -> ProcessTimes:
    """Read /proc/PID/stat and /proc/PID/cmdline (proc(5)); raises ValueError."""
    head, _, rest = stat.rpartition(")")
    fields = rest.split()
    first = Path(command_line.split("\0", maxsplit=1)[0]).name
    name = first.split()[0] if first.strip() else head.partition("(")[2]
    own, waited = (sum(map(int, fields[place : place + 2])) / TICKS for place in (11, 13))
    return ProcessTimes(name, int(fields[1]), own, waited)


def idle_seconds() -> float:
    """Return the seconds for which the processors of the machine had nothing to do since its start, summed up."""
    _, *fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return (int(fields[3]) + int(fields[4])) / TICKS
