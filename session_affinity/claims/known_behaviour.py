"""Known behaviours: what kube-proxy is known to do wrong, with its versions and the public report.

A claim that names a known behaviour is judged as any other. In a version that has it a violation differs instead of
failing the run, and the run says so when the claim passes after all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.releases import release_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from session_affinity.releases import Release


@dataclass(frozen=True)
class KnownBehaviour:
    """Something that kube-proxy is known to do wrong.

    ``what`` completes "kube-proxy" in a sentence; ``link`` is the public report. It is in the versions from ``since``
    on, before ``until``: minor versions such as ``1.32``; empty where it has always been, or where no version mends it.
    ``modes`` are the proxy modes that have it; empty for all. ``above`` is a number of endpoints, of all Services
    together, up to which it is not seen; where there are more, a judge says whether a violation follows from it.
    """

    what: str
    link: str
    since: str = ""
    until: str = ""
    modes: tuple[str, ...] = ()
    above: int = 0

    def is_in(self, release: Release, mode: str) -> bool:
        """Return whether a release of kube-proxy has it in a proxy mode."""
        if self.modes and mode not in self.modes:
            return False
        since, until = (release_of(bound) if bound else None for bound in (self.since, self.until))
        return (since is None or release >= since) and (until is None or release < until)

    @property
    def versions(self) -> str:
        """The versions that have it, in words."""
        since = f"from {self.since} on" if self.since else "in every version"
        until = f", before {self.until}" if self.until else ""
        size = f", above {self.above} endpoints" if self.above else ""
        return f"{since}{until}{size}"

    def __str__(self) -> str:
        return f"kube-proxy {self.what} ({self.versions}): {self.link}"


_ISSUES: Final = "https://github.com/kubernetes/kubernetes/issues"
IPVS_SHORT_TIMEOUTS: Final = KnownBehaviour(
    "in ipvs mode keeps a client bound as long as the kernel tracks a connection of it, for two minutes after its end: "
    "timeouts below about two minutes are not kept",
    f"{_ISSUES}/89358",
    modes=("ipvs",),
)
"""A connection of IPVS holds the template that binds the client; see the kernel's ip_vs_conn.c, ip_vs_conn_expire."""
FLOWS_WITHOUT_ENDPOINTS: Final = KnownBehaviour(
    "keeps the flows of datagrams of a Service that has lost its last endpoint", f"{_ISSUES}/139628", "1.32", "1.37"
)
FLOWS_OF_DELETED_SERVICES: Final = KnownBehaviour(
    "keeps the flows of datagrams of a deleted Service",
    "https://github.com/kubernetes/kubernetes/pull/141371",
    "1.32",
    "1.38",
)
FLOWS_AFTER_FAILED_SYNCS: Final = KnownBehaviour(
    "forgets to end flows of datagrams to endpoints that were removed while its syncs failed", f"{_ISSUES}/112604"
)
NAT_TABLE_FLUSHED: Final = KnownBehaviour(
    "notices that rules are gone only when those of the mangle table are, and otherwise at the next change, or after an"
    " hour",
    f"{_ISSUES}/129128",
    modes=("iptables",),
)
TABLE_DELETED: Final = KnownBehaviour(
    "does not notice in nftables mode that its table is gone before the next change, or after an hour",
    f"{_ISSUES}/129128",
    modes=("nftables",),
)
NODE_ADDRESSES_LOST: Final = KnownBehaviour(
    "answers no node port on a node whose addresses it could not list when it wrote all rules, for up to an hour",
    "docs/findings.md",
    modes=("nftables",),
)
"""See setupNFTables in pkg/proxy/nftables/proxier.go."""
UNUSED_CHAINS_KEPT: Final = KnownBehaviour(
    "puts off deleting the chains of former endpoints, so that one that is back within syncPeriod finds the affinity"
    " entries that it had",
    "https://github.com/kubernetes/kubernetes/pull/110334",
    modes=("iptables",),
    above=1000,
)
"""See largeClusterMode in pkg/proxy/iptables/proxier.go."""


def known_behaviour(
    behaviours: Iterable[KnownBehaviour], releases: Collection[Release], mode: str
) -> KnownBehaviour | None:
    """Return the first behaviour that some of these releases of kube-proxy has in a proxy mode; None if none has.

    Those that depend on the number of endpoints are left out.
    """
    everywhere = (known for known in behaviours if not known.above)
    return next((known for known in everywhere if any(known.is_in(release, mode) for release in releases)), None)
