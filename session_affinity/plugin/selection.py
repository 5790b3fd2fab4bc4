"""Test order and skip rules.

Claims that are judged by what goes on in the background come late, those about expiry last of them, disruptive claims
after them. A claim whose proxy mode, node access or IP family is
missing is skipped, by one rule: at collection, by the options alone, and again when the cluster is known.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from session_affinity.claims import BOTH_MODES, KnownBehaviour, Promise
from session_affinity.claims.known_behaviour import known_behaviour
from session_affinity.clusters.addresses import families_of
from session_affinity.clusters.options import NO_ACCESS
from session_affinity.dataplane.proxy_config import NO_KUBE_PROXY, UNKNOWN
from session_affinity.plugin.claims import CATALOGUE, DUAL_STACK, claim_of
from session_affinity.plugin.options import ONLY_BEHAVIOUR, cluster_options_of
from session_affinity.plugin.order import is_disruptive, needs_shared_wait, turn_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from session_affinity.dataplane.model import Family
    from session_affinity.dataplane.proxy_config import ProxyConfigs
    from session_affinity.dataplane.recognition import Recognition
    from session_affinity.releases import Release

NOT_TO_BE_DISTURBED: Final = (
    "the cluster was not created by this run: claims whose tests flush rules, stop kube-proxy or create a thousand "
    "Services are judged on embedded and kind clusters only"
)
MAY_DIFFER: Final = "no document specifies this behaviour of kube-proxy, and {reason}: this cluster may differ"


@dataclass(frozen=True)
class Judgeable:
    """What the skip rules need to know about the cluster: first from the options, then from the cluster.

    ``proxy_mode`` and ``families`` are empty while unknown. ``nodes_not_judged`` is the reason why no claim about nodes
    can be judged, in any mode; empty when they can be, or while unknown. ``not_bound`` is why what kube-proxy alone
    promises may differ here (see ``why_not_bound``). ``kube_proxy_serves``: kube-proxy, in whatever mode, is known to
    serve Services. ``releases`` are those of the kube-proxies.
    """

    proxy_mode: str = ""
    nodes_not_judged: str = ""
    not_bound: str = ""
    kube_proxy_serves: bool = True
    families: tuple[Family, ...] = ()
    releases: Collection[Release] = ()

    def has_everywhere(self, known: KnownBehaviour) -> bool:
        """Return whether each of the kube-proxies has a known behaviour, so that a claim cannot pass with it."""
        return all(known.is_in(release, self.proxy_mode) for release in self.releases)

    def why_not_nodes(self, modes: Collection[str]) -> str:
        """Return why a claim about nodes in these modes is skipped; empty when it is judged."""
        if modes and self.nodes_not_judged:
            return self.nodes_not_judged
        if not modes or not self.proxy_mode or self.proxy_mode in modes:
            return ""
        mode = self.proxy_mode
        return f"kube-proxy runs in {mode} mode: claims about {' and '.join(modes)} rules cannot be judged here"

    def why_single_stack(self) -> str:
        """Return why a claim about two IP families is skipped; empty when it is judged."""
        if len(self.families) != 1:
            return ""
        return f"the cluster has {self.families[0]} only: claims about two IP families need --ip-family dual"


JUDGEABLE: Final = pytest.StashKey[Judgeable]()
KNOWN_BEHAVIOURS: Final = pytest.StashKey[dict[str, KnownBehaviour]]()
"""The known behaviours that this cluster's kube-proxy has, by the claim that it violates."""


def learn(config: pytest.Config, **facts: Any) -> None:
    """Give the skip rules facts about the cluster; ``facts`` are fields of ``Judgeable``."""
    config.stash[JUDGEABLE] = replace(config.stash[JUDGEABLE], **facts)


def why_skipped(item: pytest.Item) -> str:
    """Return why a claim's test is skipped, by what is known so far; empty when it is judged."""
    judgeable = item.config.stash[JUDGEABLE]
    if is_disruptive(item) and cluster_options_of(item.config).is_external:
        return NOT_TO_BE_DISTURBED
    if item.get_closest_marker(DUAL_STACK) and (reason := judgeable.why_single_stack()):
        return reason
    return judgeable.why_not_nodes(modes_of(item))


def modes_of(item: pytest.Item) -> tuple[str, ...]:
    """Return the proxy modes in which a test about nodes is judged; none for a test about behaviour."""
    marker = item.get_closest_marker("dataplane")
    return marker.args if marker else ()


def is_judged(item: pytest.Item) -> bool:
    """Return whether a claim's test is going to run, by what is known so far."""
    return bool(claim_of(item)) and item.get_closest_marker("skip") is None and not why_skipped(item)


def is_requested(session: pytest.Session, *fixtures: str) -> bool:
    """Return whether a test that is going to run, by what is known so far, takes all of these fixtures as arguments."""
    return any(
        set(fixtures) <= inspect.signature(item.function).parameters.keys()
        for item in session.items
        if isinstance(item, pytest.Function) and is_judged(item)
    )


def is_needed(session: pytest.Session, fixture: str) -> bool:
    """Return whether a test that is going to run, by what is known so far, needs a fixture, itself or by another."""
    return any(
        fixture in item.fixturenames for item in session.items if isinstance(item, pytest.Function) and is_judged(item)
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the claims' tests, and skip those that the options rule out."""
    only_behaviour = ONLY_BEHAVIOUR if config.getoption("--only-behaviour", default=False) else ""
    families = config.getoption("--ip-family", default=None)
    config.stash[KNOWN_BEHAVIOURS] = {}
    config.stash[JUDGEABLE] = Judgeable(
        config.getoption("--proxy-mode", default=None) or "",
        only_behaviour or (NO_ACCESS if cluster_options_of(config).lacks_node_access else ""),
        families=families_of(families) if families else (),
    )
    claimed = [item for item in items if claim_of(item)]
    catalogue = config.stash[CATALOGUE]
    places = {claim_id: place for place, claim_id in enumerate(catalogue)}
    shared_wait = any(needs_shared_wait(item) and not why_skipped(item) for item in claimed)
    disruption = any(is_disruptive(item) and not why_skipped(item) for item in claimed)

    def turn(item: pytest.Item) -> tuple[int, int]:
        return turn_of(item, shared_wait=shared_wait, disruption=disruption), places[_claim_id(item)]

    claimed.sort(key=turn)
    sorted_items = iter(claimed)
    items[:] = [next(sorted_items) if claim_of(item) else item for item in items]
    for item in claimed:
        if reason := why_skipped(item):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test by the same rule when the cluster, known by now, rules it out."""
    if claim_of(item) and (reason := why_skipped(item)):
        pytest.skip(reason)


def why_not_bound(configs: ProxyConfigs, recognition: Recognition) -> str:
    """Return why a cluster is not bound by what kube-proxy alone promises; empty where that is known to serve it.

    These claims say what kube-proxy does in iptables and nftables mode. What is not known to be that may differ, and a
    cluster whose kube-proxy could not be looked at is not known to have one.
    """
    if recognition.others:
        return f"{', '.join(program.title for program in recognition.others)} serves Services here"
    modes = {config.mode for config in configs.distinct}
    if not modes or UNKNOWN in modes:
        return "it is not known that kube-proxy serves Services here"
    if NO_KUBE_PROXY in modes:
        return "there is no kube-proxy here"
    others = sorted(modes - set(BOTH_MODES))
    return f"kube-proxy runs in {' and '.join(others)} mode" if others else ""


def kube_proxy_serves(configs: ProxyConfigs, recognition: Recognition) -> bool:
    """Return whether kube-proxy is known to serve Services, in whatever mode."""
    modes = {config.mode for config in configs.distinct}
    return bool(modes) and not recognition.others and not modes & {UNKNOWN, NO_KUBE_PROXY}


def expect_differences(item: pytest.Item) -> None:
    """Expect the failure of a claim that only kube-proxy promises where that is not known to serve, and of a known one.

    Only a violated claim is expected: a test that fails for another reason still ends as an error.
    """
    judgeable, claim = item.config.stash[JUDGEABLE], claim_of(item)
    if claim is None:
        return
    serves = judgeable.kube_proxy_serves
    known = known_behaviour(claim.known, judgeable.releases, judgeable.proxy_mode) if serves else None
    if known:
        expect_known_behaviour(item, known)
    elif judgeable.not_bound and claim.promised_by is Promise.KUBE_PROXY:
        _expect_violation(item, MAY_DIFFER.format(reason=judgeable.not_bound))


def expect_known_behaviour(item: pytest.Item, known: KnownBehaviour) -> None:
    """Expect that a claim is violated by what kube-proxy is known to do wrong; also while its test runs."""
    if claim := claim_of(item):
        item.config.stash[KNOWN_BEHAVIOURS][claim.id] = known
        _expect_violation(item, f"a known behaviour: {known}")


def _expect_violation(item: pytest.Item, reason: str) -> None:
    item.add_marker(pytest.mark.xfail(reason=reason, raises=AssertionError, strict=False))


def _claim_id(item: pytest.Item) -> str:
    claim = claim_of(item)
    return claim.id if claim else ""
