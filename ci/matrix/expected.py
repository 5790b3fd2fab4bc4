"""What a leg has to judge, known before it runs: from the tests that pytest collects for it, and from the catalogue."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ci.matrix.legs import Leg
from session_affinity.errors import SuiteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

COLLECTED_VARIABLE: Final = "AFFINITY_COLLECTED"
_PLUGIN: Final = "ci.matrix.collected"
_NOTHING_SELECTED: Final = 5


@dataclass(frozen=True)
class Expectation:
    """How many tests of each claim a leg judges, and how many it skips by a rule that is known beforehand."""

    leg: Leg
    judged: Mapping[str, int]
    skipped: Mapping[str, int]
    titles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What each leg of a matrix has to judge."""

    expectations: tuple[Expectation, ...]

    @property
    def legs(self) -> tuple[Leg, ...]:
        """Its legs, in order."""
        return tuple(one.leg for one in self.expectations)

    @property
    def titles(self) -> dict[str, str]:
        """The titles of all claims by id, in the order in which they are judged."""
        return {claim: title for one in self.expectations for claim, title in one.titles.items()}

    def write(self, file: Path) -> None:
        """Keep it for the report's gate, which needs the number of tests that each leg judges, and for ``read``."""
        legs = [
            {
                "id": one.leg.id,
                "name": one.leg.name,
                "kubernetes": one.leg.kubernetes,
                "proxy_mode": one.leg.proxy_mode,
                "provider": one.leg.provider,
                "judged": sum(one.judged.values()),
                "claims": {"judged": dict(one.judged), "skipped": dict(one.skipped), "titles": dict(one.titles)},
            }
            for one in self.expectations
        ]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"legs": legs}, indent=1), encoding="utf-8")


def read(file: Path) -> Plan:
    """Return a plan that was written; raises SuiteError when the file is none."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        expectations = tuple(
            Expectation(
                Leg(leg["kubernetes"], leg["proxy_mode"], leg["provider"]),
                leg["claims"]["judged"],
                leg["claims"]["skipped"],
                leg["claims"]["titles"],
            )
            for leg in document["legs"]
        )
        return Plan(expectations)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SuiteError(f"{file} is not a plan of a matrix: {error!r}", next_step="run make matrix again") from error


def collect(legs: Iterable[Leg], arguments: Sequence[str]) -> Plan:
    """Return what each leg judges with these arguments of pytest, by collecting its tests; starts no cluster.

    Raises UsageError when pytest does not take the arguments or they select nothing.
    """
    expectations = tuple(_of_leg(leg, arguments) for leg in legs)
    if not any(one.judged for one in expectations):
        raise UsageError(
            f"no leg judges a claim with {' '.join(arguments) or 'no arguments'}",
            next_step="choose other claims, or other legs",
        )
    return Plan(expectations)


def counted(leg: Leg, tests: Iterable[Sequence[Any]]) -> Expectation:
    """Return the expectation from a claim's id, whether its test is skipped by rule, and the claim's title."""
    known = [(str(claim), bool(skipped), str(title)) for claim, skipped, title in tests]
    return Expectation(
        leg,
        Counter(claim for claim, skipped, _ in known if not skipped),
        Counter(claim for claim, skipped, _ in known if skipped),
        {claim: title for claim, _, title in known},
    )


def _of_leg(leg: Leg, arguments: Sequence[str]) -> Expectation:
    with tempfile.TemporaryDirectory() as directory:
        answer = Path(directory) / "collected.json"
        run = subprocess.run(
            [*pytest_command(leg, arguments), "--collect-only", "-q", "-p", _PLUGIN],
            env={**os.environ, COLLECTED_VARIABLE: str(answer)},
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode not in (0, _NOTHING_SELECTED) or not answer.exists():
            said = "\n".join(f"    {line}" for line in (run.stdout + run.stderr).splitlines()[-20:])
            raise UsageError(
                f"leg {leg.name}: pytest cannot collect its tests ({run.returncode}):\n{said}",
                next_step="correct the arguments",
            )
        return counted(leg, json.loads(answer.read_text(encoding="utf-8")))


def pytest_command(leg: Leg, arguments: Sequence[str]) -> list[str]:
    """Return the command that checks a leg."""
    return [sys.executable, "-m", "pytest", "-m", "affinity", *leg.options, *arguments]
