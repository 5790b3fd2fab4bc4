"""The catalogue from the command line: ``docs`` writes docs/claims.md, ``costs`` keeps what claims cost in seconds."""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from session_affinity.claims import CATALOGUE, costs
from session_affinity.claims.document import render
from session_affinity.claims.told import SUITE, read_suite
from session_affinity.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = SUITE.parent
DOCUMENT: Final = ROOT / "docs" / "claims.md"
BEHAVIOUR: Final = ROOT / "tests" / "defects" / "behaviour.json"


def current() -> str:
    """Return what docs/claims.md has to be."""
    behaviour = json.loads(BEHAVIOUR.read_text()) if BEHAVIOUR.exists() else ()
    return render(CATALOGUE.values(), read_suite(), costs.read(), measured_on=costs.measured_on(), behaviour=behaviour)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; errors go to standard error with the next step."""
    parser = argparse.ArgumentParser(prog="python -m session_affinity.claims", description=__doc__)
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB", dest="verb")
    verbs.add_parser("docs", help="write docs/claims.md anew")
    keep = verbs.add_parser("costs", help="take the seconds of each claim from the results of runs")
    keep.add_argument("results", nargs="+", metavar="MODE=FILE", help="a JUnit file of a run in a proxy mode")
    keep.add_argument("--on", required=True, help="what it was measured on, in a few words")
    parsed = parser.parse_args(arguments)
    try:
        if parsed.verb == "costs":
            _keep_costs(parsed.results, parsed.on)
        DOCUMENT.write_text(current())
    except SuiteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _keep_costs(results: Sequence[str], on: str) -> None:
    texts: dict[str, list[str]] = defaultdict(list)
    for one in results:
        mode, _, file = one.partition("=")
        texts[mode].append(Path(file).read_text())
    costs.write(costs.updated(costs.read(), costs.measured(texts)), on)


if __name__ == "__main__":
    sys.exit(main())
