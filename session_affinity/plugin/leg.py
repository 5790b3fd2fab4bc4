"""The leg of this run, which labels every result: as discovered on the cluster, or as requested while there is none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from session_affinity import versions
from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY
from session_affinity.clusters.choice import choose, look
from session_affinity.dataplane.proxy_config import IPTABLES
from session_affinity.errors import SuiteError
from session_affinity.legs import Leg
from session_affinity.plugin.facts import RUN_FACTS
from session_affinity.plugin.options import cluster_options_of

if TYPE_CHECKING:
    import pytest

_MINOR: Final = re.compile(r"v?(\d+\.\d+)")


def leg_of(config: pytest.Config) -> Leg:
    """Return the leg of this run."""
    run, options = config.stash[RUN_FACTS], cluster_options_of(config)
    facts = run.facts
    return Leg(
        minor(facts.get("Kubernetes", "")) or minor(_requested_release(options.kubernetes)),
        run.cluster.proxy_configs.mode if run.cluster else options.proxy_mode or IPTABLES,
        facts.get("provider") or _provider(config),
        _ip_family(facts.get("IP families", "")) or options.ip_family or DEFAULT_IP_FAMILY,
    )


def minor(version: str) -> str:
    """Return ``1.37`` for ``v1.37.2``; empty for no version, as on a cluster whose nodes may not be listed."""
    match = _MINOR.match(version)
    return match[1] if match else ""


def _ip_family(families: str) -> str:
    """Return the value of ``--ip-family`` for the families of a cluster, ``IPv4, IPv6``; empty for none."""
    return "dual" if "," in families else families.lower()


def _requested_release(version: str | None) -> str:
    try:
        return versions.resolve(version).release
    except SuiteError:
        return version or ""


def _provider(config: pytest.Config) -> str:
    options = cluster_options_of(config)
    if options.cluster != "auto":
        return options.cluster
    try:
        return choose(options, look).provider
    except SuiteError:
        return options.cluster
