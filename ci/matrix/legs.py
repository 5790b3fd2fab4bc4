"""A leg of the matrix, and which legs a matrix has."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY
from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from session_affinity.versions import KubernetesVersions

DEFAULT_MODE: Final = "iptables"


@dataclass(frozen=True)
class Leg:
    """One Kubernetes minor version (``1.37``), one mode of kube-proxy and one provider: what one run is on."""

    kubernetes: str
    proxy_mode: str
    provider: str

    @property
    def id(self) -> str:
        """The name of its directory, and of its environment in the report (see report/legs.mjs)."""
        return f"k8s-{self.kubernetes.replace('.', '-')}-{self.proxy_mode}-{self.provider}"

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.kubernetes} {self.proxy_mode} {self.provider}"

    @property
    def order(self) -> tuple[Any, ...]:
        """What legs are sorted by: oldest version first."""
        return tuple(int(part) for part in self.kubernetes.split(".")), self.proxy_mode, self.provider

    @property
    def options(self) -> list[str]:
        """The options of the suite that choose this leg: nothing is left open that decides what can be judged."""
        cluster = ["--cluster", self.provider, "--kubernetes", self.kubernetes, "--proxy-mode", self.proxy_mode]
        return [*cluster, "--ip-family", DEFAULT_IP_FAMILY]


class Breadth(StrEnum):
    """How much of the matrix is run."""

    CHANGE = "change"
    """Enough to judge a change: oldest, default and newest version, the default one in every mode."""
    ALL = "all"
    """Every version in every mode."""


_BREADTH: Final = {
    "pull_request": Breadth.CHANGE,
    "merge_group": Breadth.CHANGE,
    "schedule": Breadth.ALL,
    "workflow_dispatch": Breadth.ALL,
}


def breadth_of(event: str) -> Breadth:
    """Return how much an event of GitHub Actions asks for; raises UsageError for one that no workflow here has."""
    if event not in _BREADTH:
        raise UsageError(f"no matrix is planned for the event {event!r}", next_step=f"use one of {', '.join(_BREADTH)}")
    return _BREADTH[event]


def planned(known: KubernetesVersions, breadth: Breadth, provider: str) -> tuple[Leg, ...]:
    """Return the legs of a matrix on one provider, oldest version first, each once."""
    if breadth is Breadth.ALL:
        wanted = {Leg(one.minor, mode, provider) for one in known.versions for mode in one.proxy_modes}
    else:
        edges = (known.versions[0], known.default, known.versions[-1])
        wanted = {Leg(one.minor, _first_mode(one.proxy_modes), provider) for one in edges}
        wanted |= {Leg(known.default.minor, mode, provider) for mode in known.default.proxy_modes}
    return tuple(sorted(wanted, key=lambda leg: leg.order))


def chosen(legs: Iterable[Leg], minors: Collection[str], modes: Collection[str]) -> tuple[Leg, ...]:
    """Return the legs of some versions and modes, all modes where none is named.

    Raises UsageError when a name chooses nothing.
    """
    legs = tuple(legs)
    for what, names, there in (
        ("version", minors, {leg.kubernetes for leg in legs}),
        ("proxy mode", modes, {leg.proxy_mode for leg in legs}),
    ):
        if unknown := [name for name in names if name not in there]:
            raise UsageError(
                f"no leg has the {what} {' or '.join(unknown)}", next_step=f"choose from {', '.join(sorted(there))}"
            )
    return tuple(leg for leg in legs if leg.kubernetes in minors and (not modes or leg.proxy_mode in modes))


def github_matrix(legs: Iterable[Leg], known: KubernetesVersions) -> dict[str, list[dict[str, str]]]:
    """Return the legs as the ``matrix`` of a job of GitHub Actions, each with what installs its cluster."""
    kinds = {version.minor: version.kind for version in known.versions}
    return {
        "include": [
            {
                "leg": leg.id,
                "name": leg.name,
                "kubernetes": leg.kubernetes,
                "proxy_mode": leg.proxy_mode,
                "provider": leg.provider,
                "kind": kinds[leg.kubernetes].version,
                "image": kinds[leg.kubernetes].image,
            }
            for leg in legs
        ]
    }


def _first_mode(modes: Sequence[str]) -> str:
    return DEFAULT_MODE if DEFAULT_MODE in modes else modes[0]
