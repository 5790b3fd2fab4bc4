"""The lists of clients that iptables mode keeps: /proc/net/xt_recent, read with its meaning.

Source of format and rules: the kernel's net/netfilter/xt_recent.c. A list holds at most ``ip_list_tot`` (100) clients.
An entry stays listed after it expired, so being listed is not being pinned: ``Entry.is_live`` tells.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final

from session_affinity.errors import NodeError

DIRECTORY: Final = "/proc/net/xt_recent"
KERNEL_HZ: Final = (100, 250, 300, 1000)
"""The tick rates a kernel can be built with (kernel/Kconfig.hz)."""
MAX_STAMPS: Final = 32
"""How many connection times an entry keeps while no rule asks for a hit count."""
FLUSH: Final = "/"
"""Written to a list, forgets every client."""
WRITE_SCRIPT: Final = r"""while [ $# -gt 1 ]; do list=/proc/net/xt_recent/$1
[ -w "$list" ] || { echo "no list $list" >&2; exit 1; }
printf '%s\n' "$2" > "$list" || exit 1; shift 2; done"""
"""Writes to lists: takes pairs of a list and what is written to it. The kernel takes one command a write."""

_LINE = re.compile(
    r"src=(?P<address>\S+) ttl: (?P<ttl>\d+) last_seen: (?P<last_seen>\d+) oldest_pkt: (?P<index>\d+)"
    r"(?P<stamps>(?:,? \d+)*)"
)
_SHORTEST_INTERVAL: Final = 0.2
_HZ_TOLERANCE: Final = 0.05


def path(name: str) -> str:
    """Return the file of a list, as seen from its node's network namespace."""
    return f"{DIRECTORY}/{name}"


def forget(address: str) -> str:
    """Return what removes a client when written to a list; an unknown client is no error."""
    return f"-{address}"


def remember(address: str) -> str:
    """Return what adds or renews a client when written to a list."""
    return f"+{address}"


@dataclass(frozen=True)
class ClockSample:
    """A node's jiffies, and its uptime in seconds, read together."""

    jiffies: int
    uptime: float


@dataclass(frozen=True)
class Clock:
    """The moment a node's lists were read, in the unit of their stamps."""

    jiffies: int
    hz: int


@dataclass(frozen=True)
class Entry:
    """A client in a list. ``last_seen`` and ``stamps`` are jiffies; ``ttl`` is 0 for one added by hand.

    ``index`` (the file calls it oldest_pkt) is the ring slot of the next stamp, so ``stamps`` is unsorted once
    MAX_STAMPS connections were seen. ``written`` is the address as the file has it (see ``as_listed``).
    """

    address: str
    ttl: int
    last_seen: int
    index: int
    stamps: tuple[int, ...]
    written: str = field(default="", compare=False)

    @property
    def connections(self) -> int:
        """How many new connections the entry has seen, exact below MAX_STAMPS."""
        return len(self.stamps)

    def newest(self, count: int = 1) -> tuple[int, ...]:
        """Return the last ``count`` stamps, newest first."""
        return tuple(sorted(self.stamps, reverse=True)[:count])

    def age(self, clock: Clock) -> float:
        """Return the seconds since the last new connection."""
        return (clock.jiffies - self.last_seen) / clock.hz

    def is_live(self, clock: Clock, timeout_seconds: int) -> bool:
        """Return whether ``--rcheck --seconds timeout_seconds`` would match: a stamp no older than that, inclusive."""
        oldest = clock.jiffies - timeout_seconds * clock.hz
        return any(stamp >= oldest for stamp in self.stamps)

    def expires_in(self, clock: Clock, timeout_seconds: int) -> float:
        """Return the seconds until the entry no longer matches; negative when it already does not."""
        return timeout_seconds - self.age(clock)


@dataclass(frozen=True)
class RecentList:
    """One list. Entries come in the order of the file, which is that of hash buckets, not of time."""

    name: str
    entries: tuple[Entry, ...] = ()

    def entry(self, address: str) -> Entry | None:
        """Return a client's entry, live or not."""
        wanted = canonical(address)
        return next((entry for entry in self.entries if entry.address == wanted), None)

    def live(self, clock: Clock, timeout_seconds: int) -> tuple[Entry, ...]:
        """Return the entries that would match now."""
        return tuple(entry for entry in self.entries if entry.is_live(clock, timeout_seconds))


def canonical(address: str) -> str:
    """Return an address as the API writes it; the file writes IPv6 as eight full groups. Raises ValueError."""
    return str(ipaddress.ip_address(address))


def as_listed(address: str) -> str:
    """Return an address as the kernel writes it to a list: IPv6 in eight full groups (%pI6). Raises ValueError."""
    return ipaddress.ip_address(address).exploded


def parse(name: str, text: str) -> RecentList:
    """Read the text of one list; raises NodeError on a line that is none of the format."""
    return RecentList(name, tuple(_entry(name, line) for line in text.splitlines() if line.strip()))


def derive_hz(first: ClockSample, second: ClockSample) -> int:
    """Return a kernel's tick rate from two samples, best taken a second apart since uptime counts hundredths.

    Raises NodeError when they are less than 0.2 s apart or no kernel's rate is within 5 %.
    """
    elapsed = second.uptime - first.uptime
    if elapsed < _SHORTEST_INTERVAL:
        raise NodeError(
            f"two clock samples are {elapsed:.2f} s apart, which is too little to tell the tick rate",
            next_step=f"take them at least {_SHORTEST_INTERVAL} s apart",
        )
    rate = (second.jiffies - first.jiffies) / elapsed
    nearest = min(KERNEL_HZ, key=lambda hz: abs(rate - hz))
    if abs(rate - nearest) > _HZ_TOLERANCE * nearest:
        raise NodeError(
            f"jiffies advanced by {second.jiffies - first.jiffies} in {elapsed:.2f} s, {rate:.1f} a second: "
            f"no kernel ticks like that ({', '.join(map(str, KERNEL_HZ))})",
            next_step="take two samples a second apart on a machine that is not stalled",
        )
    return nearest


def _entry(name: str, line: str) -> Entry:
    match = _LINE.fullmatch(line.strip())
    try:
        if match:
            return Entry(
                canonical(match["address"]),
                int(match["ttl"]),
                int(match["last_seen"]),
                int(match["index"]),
                tuple(int(stamp) for stamp in match["stamps"].replace(",", " ").split()),
                match["address"],
            )
    except ValueError:
        pass
    raise NodeError(f"{path(name)}: cannot read {line!r}", next_step="compare the kernel's recent_seq_show()")
