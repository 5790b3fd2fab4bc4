"""Write docs/claims.md from the claims that pytest collects, and from the defects that behaviour alone reveals.

``python -m ci.claims_page`` (``make docs``) writes the page; it is written from the tests, so do not edit it.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from session_affinity import bundle
from session_affinity.claims import KnownBehaviour, sources
from session_affinity.claims.catalogue import SUBJECTS
from session_affinity.experiment import BUDGET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "claims.md"
BEHAVIOUR: Final = ROOT / "tests" / "defects" / "behaviour.json"
COLLECT_SECONDS: Final = 120
NO_AUTOLOAD: Final = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"
"""A variable that tests of plugins set; with it pytest does not find the plugins that the suite needs."""

_HEAD: Final = """\
# Claims

<!-- Written by `make docs` (ci/claims_page.py) from the tests in suite/. Do not edit. -->

A claim is a statement about session affinity that one test checks. Its id never changes its meaning and is never used
for another claim. `pytest --claims` lists the claims, `pytest -m C10` checks one, `pytest -m "affinity and expiry"`
checks a subject, and `pytest -m "affinity and api"` checks what the Service API promises on any dataplane. Claims that
`kube_proxy` promises describe what kube-proxy does where no document specifies it; other dataplanes may differ.
"""
_BELOW_TABLE: Final = """\
A claim that is judged in a proxy mode reads rules and affinity entries on the nodes; "any" means that the claim needs
only requests and the API, on any dataplane. Some claims depend on chance: their false-alarm bound is given below, and
the bounds of all claims together are {alarm:.1e} a run; the limit is {budget:g}.

The id C01 is not used: it was the check of the run's environment (proxy mode, iptables variant, tick rate and clock of
each node), which is no claim about affinity; every run makes it, skips what cannot be judged, and reports the facts.
"""
_NO_COMFORT: Final = """\
## No false comfort

A run without access to the nodes can only send requests, and passes on clusters whose rules are wrong. This table shows
how much such a run misses. Each defect was injected into a cluster, and then only claims about behaviour were checked,
with `--only-behaviour`: first those that are about the defect, and all others (except C86, which takes long and repeats
others) if none of them failed. Claims about expiry were included where the defect concerns them. "Not noticed" means
that clients did not notice the defect: only a comparison of the nodes' rules finds it.
"""
_PROMISES: Final = {"api": "the Service API", "kube_proxy": "kube-proxy"}


def collect_claims(*arguments: str) -> list[dict[str, Any]]:
    """Return the claims that pytest collects, as ``pytest --claims --claims-format json`` lists them.

    ``arguments`` are further arguments of pytest. Raises RuntimeError with pytest's output when the collection fails.
    """
    argv = (
        *(sys.executable, "-m", "pytest", "-c", str(bundle.PYTEST_CONFIGURATION), "-p", "no:cacheprovider"),
        *("--claims", "--claims-format", "json", *arguments, "suite"),
    )
    environment = {name: value for name, value in os.environ.items() if name != NO_AUTOLOAD}
    completed = subprocess.run(
        argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=COLLECT_SECONDS
    )
    if completed.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} ended with {completed.returncode}:\n{completed.stdout}{completed.stderr}")
    claims: list[dict[str, Any]] = json.loads(completed.stdout)
    return claims


def read_behaviour() -> list[dict[str, Any]]:
    """Return the rows that ``make behaviour`` writes (see ``tests/defects/behaviour_table.py``)."""
    rows: list[dict[str, Any]] = json.loads(BEHAVIOUR.read_text())
    return rows


def render(claims: Sequence[Mapping[str, Any]], behaviour: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return the page, ending with a newline; ``behaviour`` are the rows of ``read_behaviour``."""
    alarm = math.fsum(claim["false_alarm"] for claim in claims)
    parts = [_HEAD, _lines(_table(claims)), _BELOW_TABLE.format(alarm=alarm, budget=BUDGET)]
    for subject, title in SUBJECTS.items():
        about_subject = [claim for claim in claims if claim["subject"] == subject]
        if about_subject:
            parts += [f"## {title}\n", *(_lines(_section(claim)) for claim in about_subject)]
    parts += [_NO_COMFORT, _lines(_defects(behaviour))]
    return "\n".join(parts)


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def _table(claims: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield "| id | title | promised by | judged in | subject |"
    yield "|---|---|---|---|---|"
    for claim in claims:
        yield (
            f"| {claim['id']} | {claim['title']} | {claim['promised_by']} | {_modes(claim) or 'any'} "
            f"| {claim['subject']} |"
        )


def _section(claim: Mapping[str, Any]) -> Iterator[str]:
    where = f"in {_modes(claim)} mode" if claim["modes"] else "on any dataplane"
    chance = f" False alarm: at most {claim['false_alarm']:.1e} a run." if claim["false_alarm"] else ""
    source = _linked(claim["source"])
    yield f"### {claim['id']} {claim['title']}"
    yield ""
    yield claim["why"]
    yield ""
    for section in ("preconditions", "steps", "expected"):
        yield f"* {section.capitalize()}: {claim[section]}"
    yield ""
    yield f"Promised by {_PROMISES[claim['promised_by']]}: {source}. Judged {where}.{chance}"
    if claim["promised_by"] == "api":
        promise = sources.PROMISES[claim["id"]]
        yield ""
        yield f'Its words, to {promise.client}: "{promise.words}" ({_linked(promise.document)}).'
    for known in claim["known"]:
        behaviour = KnownBehaviour(**{**known, "modes": tuple(known["modes"])})
        modes = f" in {', '.join(behaviour.modes)} mode" if behaviour.modes else ""
        yield ""
        yield f"Known behaviour: kube-proxy {behaviour.what} ([report]({behaviour.link})), {behaviour.versions}{modes}."
    yield ""
    yield f"`{claim['test']}`"


def _linked(source: str) -> str:
    address = sources.link(source)
    return f"<{source}>" if address == source else f"[{source}]({address})" if address else source


def _modes(claim: Mapping[str, Any]) -> str:
    return ", ".join(claim["modes"])


def _defects(behaviour: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of defects: the cluster, the claims that find the defect, and claims about behaviour that did."""
    if not behaviour:
        yield "Not measured yet: run `make behaviour`."
        return
    noticed = sum(bool(row["noticed by"]) for row in behaviour)
    yield f"{noticed} of {len(behaviour)} defects were noticed by behaviour alone."
    yield ""
    yield "| defect | kube-proxy | found by | noticed by behaviour alone |"
    yield "|---|---|---|---|"
    for row in behaviour:
        undetermined = f"; {', '.join(row['could not tell'])} could not be tested" if row["could not tell"] else ""
        alone = ", ".join(row["noticed by"]) or f"**not noticed**{undetermined}"
        yield f"| {row['defect']} | {row['cluster']} | {', '.join(row['found by'])} | {alone} |"


def main() -> int:
    """Write the page."""
    PAGE.write_text(render(collect_claims(), read_behaviour()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
