"""The catalogue as a document: every claim with what its test does, who promises it, and what is not checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from session_affinity.claims.claim import API, BUDGET, Claim
from session_affinity.claims.study import NOT_CHECKED, STUDY
from session_affinity.claims.told import subjects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from session_affinity.claims.costs import Costs
    from session_affinity.claims.told import Told

NO_TEST_YET: Final = "There is no test for it yet."
_HEAD: Final = """\
# Claims

<!-- Written by `make docs` from the catalogue (session_affinity/claims) and the tests' docstrings (suite/). Do not edit. -->

Every claim has an id for good: it never changes its meaning and is never used again. `pytest --claims` lists them in
the terminal, `pytest -m C10` checks one, `pytest -m "affinity and expiry"` those of a subject,
`pytest -m "affinity and api"` those that the Service API promises on any dataplane. The others pin down what kube-proxy
does where no document says.
"""
_COSTS: Final = """\
Seconds are what a claim adds to a run of the whole catalogue, cluster and what the run shares aside: medians{on}.
The claims about expiry share one wait of 30 s: the first of them has what is left of it. The chance of a false alarm
is written where there is one; of all claims together it is {alarm:.1e} a run, and has to stay below {budget:g}.
"""
_NO_COMFORT: Final = """\
## No false comfort

What remains of the suite where nobody may look at the nodes: every defect below was injected, and claims about
behaviour alone were run, as on a cluster without access to its nodes: those that are about the defect, and where none
of them failed, all the others but C86, which takes long and asks what others ask. (The wait for timeouts was left out
where no claim about the defect needs it.) A defect that none of them noticed is one that clients did not feel, and that
only a look at the nodes finds.
"""


def render(
    catalogue: Iterable[Claim],
    told: Sequence[Told],
    costs: Costs,
    *,
    measured_on: str,
    behaviour: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Return the document, ending with a newline.

    ``behaviour`` has the defects that were injected where nothing but behaviour could be judged (see ``_comfort``).
    """
    claims = list(catalogue)
    by_id = {one.claim: one for one in told}
    alarm = sum(claim.false_alarm for claim in claims)
    parts = [
        _HEAD,
        "\n".join(_table(claims, by_id, costs)) + "\n",
        _COSTS.format(on=f", measured on {measured_on}" if measured_on else "", alarm=alarm, budget=BUDGET),
    ]
    for subject in subjects(by_id[claim.id] for claim in claims if claim.id in by_id):
        own = [claim for claim in claims if claim.id in by_id and by_id[claim.id].subjects[0] == subject]
        if own:
            parts.append(f"## {subject.replace('_', ' ').capitalize()}\n")
            parts += [_claim(claim, by_id[claim.id]) for claim in own]
    parts.append("\n".join(_missing({claim.id for claim in claims})) + "\n")
    parts.append(_NO_COMFORT)
    parts.append("\n".join(_comfort(behaviour)) + "\n")
    return "\n".join(parts)


def _table(claims: Iterable[Claim], told: Mapping[str, Told], costs: Costs) -> Iterator[str]:
    yield "| id | claim | promised by | subjects | judged on | seconds |"
    yield "|---|---|---|---|---|---|"
    for claim in claims:
        about = ", ".join(told[claim.id].subjects) if claim.id in told else ""
        own = costs.get(claim.id, {})
        seconds = ", ".join(f"{mode} {taken:.1f}" for mode, taken in sorted(own.items())) or "-"
        yield f"| {claim.id} | {claim.title} | {claim.promised_by} | {about} | {judged_on(claim)} | {seconds} |"


def judged_on(claim: Claim) -> str:
    """Return the dataplanes that a claim is judged on."""
    return ", ".join(claim.dataplanes) or "any"


def _claim(claim: Claim, told: Told) -> str:
    promised = "the Service API" if claim.promised_by == API else "kube-proxy"
    where = f"in {judged_on(claim)} mode" if claim.dataplanes else "on any dataplane"
    chance = f" False alarm: at most {claim.false_alarm:.1e}." if claim.false_alarm else ""
    more = told.statement.removeprefix(claim.title).lstrip(".:, ")
    lines = [
        f"### {claim.id} {claim.title}",
        "",
        f"Promised by {promised}: {claim.source}. Judged {where}.{chance}",
        *([f"({more[0].upper()}{more[1:]})"] if more else []),
        "",
        f"* Preconditions: {told.preconditions}",
        f"* Steps: {told.steps}",
        f"* Expected: {told.expected}",
        "",
        f"`{told.module}::{told.test}`",
        "",
    ]
    return "\n".join(lines)


def _missing(checked: set[str]) -> Iterator[str]:
    yield "## Not checked"
    yield ""
    absent = [claim_id for claim_id in STUDY if claim_id not in checked]
    yield "Ids of the study that the suite grew from and that no claim has:" if absent else "Every id is checked."
    yield from (f"* {claim_id}: {NOT_CHECKED.get(claim_id, NO_TEST_YET)}" for claim_id in absent)


def _comfort(behaviour: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of defects: each with its cluster, the claims that find it, and those of behaviour that did."""
    if not behaviour:
        yield "Not measured yet."
        return
    noticed = sum(bool(one["noticed by"]) for one in behaviour)
    yield f"{noticed} of {len(behaviour)} defects were noticed by behaviour alone."
    yield ""
    yield "| defect | kube-proxy | found by | by behaviour alone |"
    yield "|---|---|---|---|"
    for one in behaviour:
        alone = ", ".join(one["noticed by"]) or f"**not noticed**{_untold(one['could not tell'])}"
        yield f"| {one['defect']} | {one['cluster']} | {', '.join(one['found by'])} | {alone} |"


def _untold(claims: Sequence[str]) -> str:
    return f"; {', '.join(claims)} could not be judged" if claims else ""
