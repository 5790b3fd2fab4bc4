"""What tells the results of one run from those of another in a merged report: version, proxy mode, provider, family.

Found on the cluster; as long as there is none, what was asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from session_affinity import versions
from session_affinity.clusters.choice import choose, look
from session_affinity.errors import SuiteError
from session_affinity.plugin.facts import RUN_FACTS
from session_affinity.plugin.options import cluster_options_of

if TYPE_CHECKING:
    import pytest

_MINOR = re.compile(r"v?(\d+\.\d+)")
_IPV4 = "ipv4"


@dataclass(frozen=True)
class Leg:
    """A run among others; each value is a label of every result, and a parameter that keeps histories apart."""

    kubernetes: str
    proxy_mode: str
    provider: str
    family: str = _IPV4

    @property
    def labels(self) -> dict[str, str]:
        """The labels by name."""
        return {"k8s": self.kubernetes, "proxy": self.proxy_mode, "provider": self.provider, "family": self.family}

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters by name; the family is one where it is not the usual one."""
        family = {} if self.family == _IPV4 else {"ip family": self.family}
        return {"kubernetes": self.kubernetes, "proxy mode": self.proxy_mode, "provider": self.provider, **family}


def leg_of(config: pytest.Config) -> Leg:
    """Return which leg this run is."""
    found, options = config.stash[RUN_FACTS].facts, cluster_options_of(config)
    return Leg(
        minor(found.get("Kubernetes", "")) or minor(_asked(options.kubernetes)),
        found.get("proxy mode") or options.proxy_mode or "iptables",
        found.get("provider") or _provider(config),
        _family(found.get("IP families", "")) or str(config.getoption("--ip-family", default=None) or _IPV4),
    )


def minor(version: str) -> str:
    """Return ``1.37`` of ``v1.37.2``; empty where there is no version, as where nodes may not be listed."""
    found = _MINOR.match(version)
    return found[1] if found else ""


def _family(families: str) -> str:
    """Return what ``--ip-family`` calls the families that a cluster was found to have."""
    return "dual" if "," in families else families.lower()


def _asked(version: str | None) -> str:
    try:
        return versions.resolve(version).release
    except SuiteError:
        return version or ""


def _provider(config: pytest.Config) -> str:
    options = cluster_options_of(config)
    if options.cluster != "auto":
        return options.cluster
    try:
        return choose(options, look()).provider
    except SuiteError:
        return options.cluster
