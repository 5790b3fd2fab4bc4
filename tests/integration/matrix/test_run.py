"""Legs run one after another whatever becomes of them; an interruption ends the one that runs, and the rest."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from ci.matrix import run
from ci.matrix.legs import Leg
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

LEGS = tuple(Leg(minor, "iptables", "embedded") for minor in ("1.35", "1.36", "1.37"))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Have each leg run a program of the test's instead of pytest; returns its file."""
    program = tmp_path / "leg.py"
    monkeypatch.setattr(
        run, "pytest_command", lambda leg, arguments: [sys.executable, str(program), leg.kubernetes, *arguments]
    )
    return program


def test_a_leg_that_fails_keeps_no_other_from_running(stand_in: Path, tmp_path: Path) -> None:
    stand_in.write_text("import sys; sys.exit({'1.35': 3, '1.36': 1}.get(sys.argv[1], 0))")
    said: list[str] = []

    ended = list(run.run_all(LEGS, [], tmp_path, said.append))

    assert [(one.leg, one.code) for one in ended] == [(LEGS[0], 3), (LEGS[1], 1), (LEGS[2], 0)]
    assert [one.told.split(" in ")[0] for one in ended] == [
        "1.35 iptables embedded: no cluster",
        "1.36 iptables embedded: not all passed",
        "1.37 iptables embedded: all passed",
    ]
    assert said == [f"\nleg {place} of 3: {leg.name}" for place, leg in enumerate(LEGS, start=1)]


def test_each_leg_has_its_own_results_and_the_users_arguments(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.write_text("import json, pathlib, sys; pathlib.Path('told').write_text(json.dumps(sys.argv))")
    monkeypatch.chdir(tmp_path)

    list(run.run_all(LEGS[:1], ["-m", "C10 or C16"], tmp_path, lambda _: None))

    told = json.loads((tmp_path / "told").read_text())
    assert told[2:] == [
        *("--cluster-name", "matrix", "-m", "C10 or C16"),
        *("--alluredir", str(tmp_path / LEGS[0].id / "allure-results")),
        f"--junitxml={tmp_path / LEGS[0].id / 'junit.xml'}",
    ]


def test_an_interruption_lets_the_leg_clear_up_and_starts_no_other(stand_in: Path, tmp_path: Path) -> None:
    cleared, started = tmp_path / "cleared", tmp_path / "started"
    stand_in.write_text(
        f"""
import pathlib, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
with pathlib.Path({str(started)!r}).open("a") as file:
    file.write("leg\\n")
try:
    signal.pause()
except KeyboardInterrupt:
    pathlib.Path({str(cleared)!r}).touch()
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

    assert cleared.exists()
    assert started.read_text() == "leg\n"
