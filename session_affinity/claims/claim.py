"""A claim about session affinity, and who promises the behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from session_affinity.claims.known_behaviour import KnownBehaviour


class Promise(StrEnum):
    """Who promises a behaviour."""

    API = "api"
    """The Service API: true on any dataplane."""
    KUBE_PROXY = "kube_proxy"
    """kube-proxy's behaviour where no document specifies it; other dataplanes may differ."""


API: Final = Promise.API
KUBE_PROXY: Final = Promise.KUBE_PROXY

IPTABLES: Final = ("iptables",)
NFTABLES: Final = ("nftables",)
BOTH_MODES: Final = ("iptables", "nftables")


@dataclass(frozen=True)
class Claim:
    """A promise that one test checks.

    ``id`` never changes its meaning and is never reused, so that results of different versions of the suite can be
    compared. ``title`` is a sentence that users can paste into issues. ``source`` is where the promise is written: an
    API field, a KEP, a function of kube-proxy, a file of the kernel. ``modes`` are the proxy modes in which a claim
    about nodes is judged; empty for a claim about behaviour, which is judged on any dataplane. ``false_alarm`` bounds
    the probability that the test fails by chance on a cluster that keeps the promise; 0 for a claim without chance.
    ``known`` are what kube-proxy is known to do wrong: a violation by a version that has it fails no run.
    """

    id: str
    title: str
    promised_by: Promise
    source: str
    modes: tuple[str, ...] = ()
    false_alarm: float = 0.0
    known: tuple[KnownBehaviour, ...] = ()
