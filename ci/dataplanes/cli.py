"""The commands of ``python -m ci.dataplanes``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ci.dataplanes import plan
from session_affinity.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0; 2 for unusable arguments."""
    parser = argparse.ArgumentParser(prog="python -m ci.dataplanes", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    planning = commands.add_parser("plan", help="print the matrix of the workflow as an output of its step")
    planning.add_argument("names", nargs="*", metavar="NAME", help="some dataplanes only [all]")
    planning.set_defaults(command=_plan)
    collecting = commands.add_parser("collect", help="put the reports of a night into reports/, and say what changed")
    collecting.add_argument("artifacts", type=Path, help="the directory with the artifacts, each in one of its own")
    collecting.add_argument("--reports", type=Path, default=plan.ROOT / "reports", metavar="DIR")
    collecting.set_defaults(command=_collect)
    options = parser.parse_args(arguments)
    try:
        options.command(options)
    except (SuiteError, ValueError) as error:
        parser.error(str(error))
    return 0


def _plan(options: argparse.Namespace) -> None:
    print(f"matrix={json.dumps(plan.matrix(*options.names), separators=(',', ':'))}")


def _collect(options: argparse.Namespace) -> None:
    # Imported here: the plan is made by a Python without the suite's libraries.
    from ci.dataplanes.collect import collect

    for collected in collect(options.artifacts, options.reports, plan.dataplanes()):
        print(f"* {collected}")
