"""The claims that each leg has to judge, read from the tests that pytest collects for it before any leg runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from session_affinity.errors import SuiteError, UsageError
from session_affinity.legs import Leg

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

COLLECTION_FILE_VARIABLE: Final = "AFFINITY_COLLECTION_FILE"
"""The environment variable that names the file which the plugin writes."""
OF_DEFAULT_SETTINGS: Final[Mapping[str, tuple[str, ...]]] = {"nftables": ("C31c",)}
"""The claims, by mode, that cannot be judged because of the settings which kube-proxy has unless others are given.

A test finds out on the cluster. kube-proxy in nftables mode answers no node ports at localhost.
"""
_PLUGIN: Final = "ci.matrix.collection_plugin"
_NO_TESTS_COLLECTED: Final = 5
"""pytest's exit code when a selection leaves no test."""


@dataclass(frozen=True)
class Expectation:
    """The claims of one leg, by id: how many tests judge each, how many a rule skips, and the claims' titles."""

    leg: Leg
    judged: Mapping[str, int]
    skipped: Mapping[str, int]
    titles: Mapping[str, str]


@dataclass(frozen=True)
class Plan:
    """The expectations of all legs of a matrix."""

    expectations: tuple[Expectation, ...]

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The legs, in order."""
        return tuple(expectation.leg for expectation in self.expectations)

    @property
    def titles(self) -> dict[str, str]:
        """The titles of all claims by id, in the order of judging."""
        return {claim: title for expectation in self.expectations for claim, title in expectation.titles.items()}

    def write(self, file: Path) -> None:
        """Write the plan beside the results, so that their report can be made again; see ``read``."""
        legs = [
            {
                "kubernetes": expectation.leg.kubernetes,
                "proxy_mode": expectation.leg.proxy_mode,
                "provider": expectation.leg.provider,
                "family": expectation.leg.family,
                "judged": dict(expectation.judged),
                "skipped": dict(expectation.skipped),
                "titles": dict(expectation.titles),
            }
            for expectation in self.expectations
        ]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"legs": legs}, indent=1), encoding="utf-8")


def read(file: Path) -> Plan:
    """Return the plan that ``Plan.write`` wrote; raises SuiteError for any other file."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        expectations = tuple(
            Expectation(
                Leg(leg["kubernetes"], leg["proxy_mode"], leg["provider"], leg["family"]),
                leg["judged"],
                leg["skipped"],
                leg["titles"],
            )
            for leg in document["legs"]
        )
        return Plan(expectations)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SuiteError(f"{file} is not a plan of a matrix: {error!r}", next_step="run make matrix again") from error


def collect(legs: Iterable[Leg], arguments: Sequence[str]) -> Plan:
    """Return what each leg judges with these pytest arguments, by collecting its tests; starts no cluster.

    Raises UsageError when pytest rejects the arguments, or when they select no claim on any leg.
    """
    expectations = tuple(_collect_leg(leg, arguments) for leg in legs)
    if not any(expectation.judged for expectation in expectations):
        raise UsageError(
            f"no leg judges a claim with {' '.join(arguments) or 'no arguments'}",
            next_step="choose other claims, or other legs",
        )
    return Plan(expectations)


def expectation_of(leg: Leg, tests: Iterable[Sequence[Any]]) -> Expectation:
    """Return the expectation of a leg from its tests: of each the claim's id, whether it is skipped, the title."""
    unjudged = OF_DEFAULT_SETTINGS.get(leg.proxy_mode, ())
    rows = [(str(claim), skipped or claim in unjudged, str(title)) for claim, skipped, title in tests]
    return Expectation(
        leg,
        Counter(claim for claim, skipped, _ in rows if not skipped),
        Counter(claim for claim, skipped, _ in rows if skipped),
        {claim: title for claim, _, title in rows},
    )


def _collect_leg(leg: Leg, arguments: Sequence[str]) -> Expectation:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "collection.json"
        run = subprocess.run(
            [*pytest_command(leg, arguments), "--collect-only", "-q", "-p", _PLUGIN],
            env={**os.environ, COLLECTION_FILE_VARIABLE: str(file)},
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode not in (0, _NO_TESTS_COLLECTED) or not file.exists():
            output = "\n".join(f"    {line}" for line in (run.stdout + run.stderr).splitlines()[-20:])
            raise UsageError(
                f"leg {leg.name}: pytest cannot collect its tests (exit code {run.returncode}):\n{output}",
                next_step="correct the arguments",
            )
        return expectation_of(leg, json.loads(file.read_text(encoding="utf-8")))


def pytest_command(leg: Leg, arguments: Sequence[str]) -> list[str]:
    """Return the command that checks the claims on a leg."""
    return [sys.executable, "-m", "pytest", "-m", "affinity", *leg.options, *arguments]
