"""Profiles: named sets of claims, each with a core and with features that an implementation may have beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from session_affinity.claims import BOTH_MODES, Promise, sources
from session_affinity.conformance.result import Outcome, SkipReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from session_affinity.claims.catalogue import ClaimTest
    from session_affinity.conformance.result import ClaimResult

API: Final = "api"
KUBE_PROXY: Final = "kube-proxy"

_FEATURES_BY_SOURCE: Final = {
    sources.EXTERNAL_POLICY_FIELD: "externalTrafficPolicy",
    sources.INTERNAL_POLICY_FIELD: "internalTrafficPolicy",
    sources.EXTERNAL_IPS_FIELD: "externalIPs",
    sources.LOAD_BALANCER_FIELD: "loadBalancerAddress",
    sources.NODE_PORT_FIELD: "nodePort",
    sources.TRAFFIC_DISTRIBUTION_FIELD: "trafficDistribution",
}
_FEATURES_BY_CLAIM: Final = {"C44": "udp"}


class ProfileOutcome(StrEnum):
    """What became of a profile's core."""

    SUCCESS = "success"
    """Every claim of the core that applies passed."""
    PARTIAL = "partial"
    """None failed, but some were deselected or could not be reached."""
    FAILURE = "failure"
    """A claim of the core is violated."""
    UNDETERMINED = "undetermined"
    """A claim of the core could not be tested: this is neither success nor failure."""


@dataclass(frozen=True)
class Profile:
    """A profile of one run: its core claims, and its extended claims by feature."""

    name: str
    core: tuple[ClaimResult, ...]
    extended: Mapping[str, tuple[ClaimResult, ...]] = field(default_factory=dict)

    @property
    def outcome(self) -> ProfileOutcome:
        """What became of the core. A known difference fails it where the Service API promises the claim."""
        outcomes = {result.outcome for result in self.core}
        broken = [
            result
            for result in self.core
            if result.outcome is Outcome.DIFFERS and result.claim.promised_by is Promise.API
        ]
        if Outcome.FAILED in outcomes or broken:
            return ProfileOutcome.FAILURE
        if Outcome.UNDETERMINED in outcomes:
            return ProfileOutcome.UNDETERMINED
        partial = (SkipReason.DESELECTED, SkipReason.NO_ACCESS)
        return (
            ProfileOutcome.PARTIAL
            if any(result.skip_reason in partial for result in self.core)
            else ProfileOutcome.SUCCESS
        )

    @property
    def supported(self) -> tuple[str, ...]:
        """The features whose claims all passed; one whose claims were skipped is none of them."""
        return tuple(
            feature
            for feature, results in self.extended.items()
            if all(result.outcome is Outcome.PASSED for result in results)
        )


def profiles(results: Sequence[ClaimResult], catalogue: Mapping[str, ClaimTest], mode: str) -> tuple[Profile, ...]:
    """Return the profiles that a run speaks about: the API's, and kube-proxy's in the proxy mode where it has one."""
    found = [_profile(API, [result for result in results if _is_of_api(result)], catalogue)]
    if mode in BOTH_MODES:
        own = [result for result in results if not _is_of_api(result) and mode in (result.claim.modes or BOTH_MODES)]
        found.append(_profile(f"{KUBE_PROXY}-{mode}", own, catalogue))
    return tuple(found)


def feature_of(test: ClaimTest) -> str:
    """Return the feature that a claim is about; empty for a claim of the core."""
    if test.disruptive:
        return "recovery"
    if test.subject == "dual_stack":
        return "dualStack"
    return _FEATURES_BY_CLAIM.get(test.claim.id) or _FEATURES_BY_SOURCE.get(test.claim.source, "")


def _is_of_api(result: ClaimResult) -> bool:
    return result.claim.promised_by is Promise.API and not result.claim.modes


def _profile(name: str, results: Iterable[ClaimResult], catalogue: Mapping[str, ClaimTest]) -> Profile:
    core: list[ClaimResult] = []
    extended: dict[str, list[ClaimResult]] = {}
    for result in results:
        feature = feature_of(catalogue[result.claim.id])
        (extended.setdefault(feature, []) if feature else core).append(result)
    return Profile(name, tuple(core), {feature: tuple(own) for feature, own in sorted(extended.items())})
