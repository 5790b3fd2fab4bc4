"""Which legs a matrix has: those of an event of GitHub Actions, and those chosen on the command line."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY, IP_FAMILIES
from session_affinity.errors import UsageError
from session_affinity.legs import Leg

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from session_affinity.versions import KubernetesVersion, KubernetesVersions

DEFAULT_MODE: Final = "iptables"
DUAL_STACK: Final = "dual"
"""The IP family of the legs that judge the claims about two families; single-stack legs skip those claims."""


class Breadth(StrEnum):
    """How much of the matrix is run."""

    CHANGE = "change"
    """Enough for a change: oldest, default and newest version, the default in every mode; one dual-stack leg."""
    ALL = "all"
    """Every version in every mode; dual-stack the newest version in every mode, and the oldest one."""


_BREADTH: Final = {
    "pull_request": Breadth.CHANGE,
    "merge_group": Breadth.CHANGE,
    "schedule": Breadth.ALL,
    "workflow_dispatch": Breadth.ALL,
}


def breadth_of(event: str) -> Breadth:
    """Return the breadth for an event of GitHub Actions; raises UsageError for an event that triggers no workflow."""
    if event not in _BREADTH:
        raise UsageError(f"no matrix is planned for the event {event!r}", next_step=f"use one of {', '.join(_BREADTH)}")
    return _BREADTH[event]


def planned(supported: KubernetesVersions, breadth: Breadth, provider: str) -> tuple[Leg, ...]:
    """Return the legs of a matrix on one provider, without duplicates, oldest version first."""
    oldest, newest = supported.versions[0], supported.versions[-1]
    if breadth is Breadth.ALL:
        legs = {leg for version in supported.versions for leg in _legs_of(version, provider)}
        legs |= set(_legs_of(newest, provider, DUAL_STACK))
        legs.add(_default_leg(oldest, provider, DUAL_STACK))
    else:
        legs = {_default_leg(version, provider) for version in (oldest, newest)}
        legs |= set(_legs_of(supported.default, provider))
        legs.add(_default_leg(newest, provider, DUAL_STACK))
    return _sorted(legs)


def chosen(
    supported: KubernetesVersions,
    provider: str,
    *,
    minors: Collection[str],
    modes: Collection[str] = (),
    families: Collection[str] = (),
) -> tuple[Leg, ...]:
    """Return the legs of some versions, proxy modes and IP families on one provider, oldest version first.

    Without modes: all modes of each version. Without families: IPv4 everywhere, and dual-stack the newest version that
    has the mode. Raises UsageError for a version, mode or family that does not exist.
    """
    all_modes = {mode for version in supported.versions for mode in version.proxy_modes}
    _require("Kubernetes version", minors, supported.minors)
    _require("proxy mode", modes, sorted(all_modes))
    _require("IP family", families, IP_FAMILIES)
    versions = [version for version in supported.versions if version.minor in minors]
    legs = {
        leg
        for version in versions
        for family in families or (DEFAULT_IP_FAMILY,)
        for leg in _legs_of(version, provider, family)
    }
    if not families:
        newest = {mode: version.minor for version in versions for mode in version.proxy_modes}
        legs |= {Leg(minor, mode, provider, DUAL_STACK) for mode, minor in newest.items()}
    legs = {leg for leg in legs if not modes or leg.proxy_mode in modes}
    if not legs:
        raise UsageError(
            f"no leg: {' and '.join(minors)} cannot run in {' or '.join(modes)} mode",
            next_step="name another version or mode",
        )
    return _sorted(legs)


def github_matrix(legs: Iterable[Leg], supported: KubernetesVersions) -> dict[str, list[dict[str, str]]]:
    """Return the legs as the ``matrix`` of a GitHub Actions job, each with the kind release and node image it needs."""
    kinds = {version.minor: version.kind for version in supported.versions}
    return {
        "include": [
            {
                "leg": leg.id,
                "name": leg.name,
                "kubernetes": leg.kubernetes,
                "proxy_mode": leg.proxy_mode,
                "provider": leg.provider,
                "ip_family": leg.family,
                "kind": kinds[leg.kubernetes].version,
                "image": kinds[leg.kubernetes].image,
            }
            for leg in legs
        ]
    }


def _legs_of(version: KubernetesVersion, provider: str, family: str = DEFAULT_IP_FAMILY) -> list[Leg]:
    return [Leg(version.minor, mode, provider, family) for mode in version.proxy_modes]


def _default_leg(version: KubernetesVersion, provider: str, family: str = DEFAULT_IP_FAMILY) -> Leg:
    modes = version.proxy_modes
    return Leg(version.minor, DEFAULT_MODE if DEFAULT_MODE in modes else modes[0], provider, family)


def _require(kind: str, names: Iterable[str], existing: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in existing]:
        raise UsageError(
            f"no leg has the {kind} {' or '.join(unknown)}", next_step=f"choose from {', '.join(existing)}"
        )


def _sorted(legs: Iterable[Leg]) -> tuple[Leg, ...]:
    return tuple(sorted(legs, key=lambda leg: leg.order))
