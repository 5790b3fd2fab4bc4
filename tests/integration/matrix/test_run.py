"""Legs run one after another, whatever their results; an interruption stops the running leg and the rest."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from ci.matrix import run
from session_affinity.legs import Leg
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

LEGS = tuple(Leg(minor, "iptables", "embedded") for minor in ("1.35", "1.36", "1.37"))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let each leg run a program of the test instead of pytest; returns the program's file."""
    program = tmp_path / "leg.py"
    monkeypatch.setattr(
        run, "pytest_command", lambda leg, arguments: [sys.executable, str(program), leg.kubernetes, *arguments]
    )
    return program


def test_a_leg_that_fails_does_not_stop_the_others(stand_in: Path, tmp_path: Path) -> None:
    stand_in.write_text("import sys; sys.exit({'1.35': 10, '1.36': 1}.get(sys.argv[1], 0))")
    lines: list[str] = []

    leg_runs = list(run.run_all(LEGS, [], tmp_path, lines.append))

    assert [(leg_run.leg, leg_run.code) for leg_run in leg_runs] == [(LEGS[0], 10), (LEGS[1], 1), (LEGS[2], 0)]
    assert [leg_run.line.split(" in ")[0] for leg_run in leg_runs] == [
        "1.35 iptables embedded: not all could be judged",
        "1.36 iptables embedded: not all passed",
        "1.37 iptables embedded: all passed",
    ]
    assert lines == [f"\nleg {place} of 3: {leg.name}" for place, leg in enumerate(LEGS, start=1)]


def test_each_leg_has_its_own_results_and_the_users_arguments(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.write_text("import json, pathlib, sys; pathlib.Path('argv').write_text(json.dumps(sys.argv))")
    monkeypatch.chdir(tmp_path)

    list(run.run_all(LEGS[:1], ["-m", "C10 or C16"], tmp_path, lambda _: None))

    argv = json.loads((tmp_path / "argv").read_text())
    assert argv[2:] == [
        *("--cluster-name", "matrix", "-m", "C10 or C16"),
        *("--alluredir", str(tmp_path / LEGS[0].id / "allure-results")),
        f"--junitxml={tmp_path / LEGS[0].id / 'junit.xml'}",
    ]


def test_an_interruption_lets_the_running_leg_clean_up_and_starts_no_other(stand_in: Path, tmp_path: Path) -> None:
    cleaned_up, started = tmp_path / "cleaned_up", tmp_path / "started"
    stand_in.write_text(
        f"""
import pathlib, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
with pathlib.Path({str(started)!r}).open("a") as file:
    file.write("leg\\n")
try:
    signal.pause()
except KeyboardInterrupt:
    pathlib.Path({str(cleaned_up)!r}).touch()
"""
    )

    def interrupt() -> None:
        poll(started.exists, 60, pause=0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        list(run.run_all(LEGS, [], tmp_path, lambda _: None))
    thread.join()

    assert cleaned_up.exists()
    assert started.read_text() == "leg\n"
