"""The conformance report: a run as a document that machines read, with a published JSON Schema.

The suite writes it and nobody edits it. Every claim of the catalogue is in it exactly once; ``problems`` finds a report
where one is missing or doubled, and one about a branch.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import yaml

from session_affinity.claims import Promise
from session_affinity.conformance.implementation import Implementation
from session_affinity.conformance.profiles import Profile, ProfileOutcome, feature_of, profiles
from session_affinity.conformance.result import Outcome, SkipReason, digest, require_complete
from session_affinity.errors import SuiteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from session_affinity.claims.catalogue import ClaimTest
    from session_affinity.conformance.result import ClaimResult, RunResult

API_VERSION: Final = "session-affinity-conformance/v1alpha1"
KIND: Final = "SessionAffinityReport"
SCHEMA_FILE: Final = "report-v1alpha1.schema.json"


@dataclass(frozen=True)
class RunAccess:
    """What the run had access to.

    ``nodes`` is ``none``, ``agent`` or ``own``, ``location`` is ``outside`` or ``in-cluster``.
    """

    nodes: str
    only_behaviour: bool = False
    location: str = "outside"


@dataclass(frozen=True)
class RunDescription:
    """What a report says about a run beside its claims. ``date`` is RFC 3339, ``command`` without names of clusters.

    ``suite_image`` is the container image of the suite with its digest; empty where the suite ran in none.
    """

    date: str
    suite_version: str
    suite_commit: str
    implementation: Implementation
    access: RunAccess
    cluster: Mapping[str, Any]
    proxy_mode: str
    command: str = ""
    suite_image: str = ""


def document(run: RunResult, catalogue: Mapping[str, ClaimTest], about: RunDescription) -> dict[str, Any]:
    """Return a run as a conformance report; raises SuiteError unless each claim of the catalogue is there once."""
    require_complete(run.claims, catalogue)
    suite = {
        "version": about.suite_version,
        "commit": about.suite_commit,
        "claims": len(catalogue),
        "catalogueDigest": digest(catalogue.values()),
        **({"image": about.suite_image} if about.suite_image else {}),
    }
    implementation = {name: value for name, value in asdict(about.implementation).items() if name != "mode"}
    counts = {str(outcome): len(run.of(outcome)) for outcome in Outcome}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "date": about.date,
        "suite": suite,
        "implementation": {**implementation, "contact": list(about.implementation.contact)},
        "mode": about.implementation.mode,
        "cluster": {**about.cluster, "proxyMode": about.proxy_mode},
        "access": {
            "nodes": about.access.nodes,
            "onlyBehaviour": about.access.only_behaviour,
            "location": about.access.location,
        },
        "command": about.command,
        "summary": counts,
        "profiles": [_profile(profile) for profile in profiles(run.claims, catalogue, about.proxy_mode)],
        "claims": [_claim(result, catalogue[result.claim.id]) for result in run.claims],
        "passesAfterAll": list(run.passes_after_all),
        "falseAlarmBound": run.false_alarm,
        "durationSeconds": round(run.seconds, 1),
    }


def write(report: Mapping[str, Any], file: Path) -> None:
    """Write a report as JSON where the file's name ends so, else as YAML."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(report, indent=2) + "\n" if file.suffix == ".json" else text(report)
    file.write_text(content, encoding="utf-8")


def text(report: Mapping[str, Any]) -> str:
    """Return a report as YAML."""
    return str(yaml.safe_dump(dict(report), sort_keys=False, width=120, allow_unicode=True))


def read(file: Path) -> dict[str, Any]:
    """Return the report in a YAML or JSON file; raises UsageError when there is none in it."""
    try:
        text = file.read_text(encoding="utf-8")
        # YAML 1.1 takes 1e-08, which JSON writes, for a text.
        found = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{file}: {error}", next_step="name a report that --report wrote") from error
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise UsageError(f"{file} is no {KIND}", next_step="name a report that --report wrote")
    return found


def schema() -> dict[str, Any]:
    """Return the JSON Schema of reports."""
    text = resources.files("session_affinity.conformance").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def problems(report: Mapping[str, Any], catalogue: Mapping[str, ClaimTest] | None = None) -> tuple[str, ...]:
    """Return what is wrong with a report, in words; none when it is valid.

    With the catalogue of this suite, a report that says it is about the same catalogue must have all its claims.
    """
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema())
    errors = sorted(validator.iter_errors(report), key=lambda error: list(map(str, error.path)))
    found = [f"{'/'.join(map(str, error.path)) or 'the report'}: {error.message}" for error in errors]
    return tuple(found) or tuple(_inconsistencies(report, catalogue))


def require_valid(report: Mapping[str, Any], where: str, catalogue: Mapping[str, ClaimTest] | None = None) -> None:
    """Raise SuiteError, with everything that is wrong, for a report that is not valid; ``where`` names it."""
    if found := problems(report, catalogue):
        lines = "\n".join(f"  {problem}" for problem in found)
        raise SuiteError(f"{where} is no valid report:\n{lines}", next_step="write it anew; reports are never edited")


def _inconsistencies(report: Mapping[str, Any], catalogue: Mapping[str, ClaimTest] | None) -> Iterator[str]:
    ids = [claim["id"] for claim in report["claims"]]
    yield from (f"claims: {claim_id} is there more than once" for claim_id in sorted(_doubled(ids)))
    if len(set(ids)) != report["suite"]["claims"]:
        yield f"claims: {len(set(ids))} of the catalogue's {report['suite']['claims']} claims are there"
    if catalogue is not None and report["suite"]["catalogueDigest"] == digest(catalogue.values()):
        yield from (f"claims: {claim_id} is missing" for claim_id in catalogue if claim_id not in ids)
        yield from (f"claims: {claim_id} is no claim of the catalogue" for claim_id in ids if claim_id not in catalogue)
    for outcome, count in report["summary"].items():
        if count != (listed := sum(claim["result"] == outcome for claim in report["claims"])):
            yield f"summary: {count} {outcome}, and {listed} in the list of claims"
    claims = {claim["id"]: claim for claim in report["claims"]}
    for profile in report["profiles"]:
        yield from (f"profile {profile['name']}: {problem}" for problem in _profile_inconsistencies(profile, claims))
    try:
        Implementation(version=str(report["implementation"].get("version", "")))
    except UsageError as error:
        yield f"implementation: {error.what}"


def _profile_inconsistencies(profile: Mapping[str, Any], claims: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield where a profile contradicts the list of claims or itself."""
    lists = {outcome: profile[outcome] for outcome in (Outcome.FAILED, Outcome.UNDETERMINED, Outcome.DIFFERS)}
    lists[Outcome.SKIPPED] = [claim_id for ids in profile["skipped"].values() for claim_id in ids]
    for outcome, ids in lists.items():
        if profile["core"].get(outcome, 0) != len(ids):
            yield f"{profile['core'].get(outcome, 0)} {outcome} of the core, and {len(ids)} in its list"
        for claim_id in ids:
            if claims.get(claim_id, {}).get("result") != outcome:
                yield f"{claim_id} is {outcome} in it, and not in the list of claims"
    for feature in profile["supportedFeatures"]:
        if set(profile["extended"].get(feature, ())) != {Outcome.PASSED}:
            yield f"the feature {feature} is supported, and not all of its claims passed"
    if profile["result"] != (expected := _core_outcome(profile, claims)):
        yield f"its result is {profile['result']}, and its claims make it {expected}"


def _core_outcome(profile: Mapping[str, Any], claims: Mapping[str, Mapping[str, Any]]) -> ProfileOutcome:
    """Return the result that the lists of a profile make: the rules of ``Profile.outcome``."""
    promised = [
        claim_id for claim_id in profile["differs"] if claims.get(claim_id, {}).get("promisedBy") == Promise.API
    ]
    if profile["failed"] or promised:
        return ProfileOutcome.FAILURE
    if profile["undetermined"]:
        return ProfileOutcome.UNDETERMINED
    partial = any(reason in profile["skipped"] for reason in (SkipReason.DESELECTED, SkipReason.NO_ACCESS))
    return ProfileOutcome.PARTIAL if partial else ProfileOutcome.SUCCESS


def _doubled(ids: Iterable[str]) -> set[str]:
    return {claim_id for claim_id, count in Counter(ids).items() if count > 1}


def _profile(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "result": str(profile.outcome),
        "core": _counts(profile.core),
        "extended": {feature: _counts(results) for feature, results in profile.extended.items()},
        "supportedFeatures": list(profile.supported),
        "failed": [result.claim.id for result in profile.core if result.outcome is Outcome.FAILED],
        "undetermined": [result.claim.id for result in profile.core if result.outcome is Outcome.UNDETERMINED],
        "differs": [result.claim.id for result in profile.core if result.outcome is Outcome.DIFFERS],
        "skipped": {
            str(reason): [result.claim.id for result in profile.core if result.skip_reason is reason]
            for reason in SkipReason
            if any(result.skip_reason is reason for result in profile.core)
        },
    }


def _counts(results: Iterable[ClaimResult]) -> dict[str, int]:
    outcomes = [result.outcome for result in results]
    return {str(outcome): outcomes.count(outcome) for outcome in Outcome if outcome in outcomes}


def _claim(result: ClaimResult, test: ClaimTest) -> dict[str, Any]:
    feature = feature_of(test)
    details = {
        "headline": result.headline,
        "message": result.message,
        "reason": str(result.skip_reason or ""),
        "link": result.link,
        "feature": feature,
    }
    return {
        "id": result.claim.id,
        "title": result.claim.title,
        "promisedBy": str(result.claim.promised_by),
        "subject": test.subject,
        "result": str(result.outcome),
        "seconds": round(result.seconds, 2),
        **{name: value for name, value in details.items() if value},
    }
