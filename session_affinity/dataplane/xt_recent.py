"""Parse and write the recent lists in /proc/net/xt_recent, which have the affinity entries in iptables mode.

Source of format and semantics: the kernel's net/netfilter/xt_recent.c. A list has at most ``ip_list_tot`` (100)
clients. An entry stays listed after it has expired, so a listed client is not necessarily bound: ``Entry.is_live``.
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
"""The number of connection times in an entry while no rule has --hitcount, and ``ip_pkt_list_tot`` is 0."""
_WRITE_SCRIPT: Final = r"""while [ $# -gt 1 ]; do list=/proc/net/xt_recent/$1
[ -w "$list" ] || { echo "no list $list" >&2; exit 1; }
printf '%s\n' "$2" > "$list" || exit 1; shift 2; done"""

_LINE = re.compile(
    r"src=(?P<address>\S+) ttl: (?P<ttl>\d+) last_seen: (?P<last_seen>\d+) oldest_pkt: (?P<index>\d+)"
    r"(?P<stamps>(?:,? \d+)*)"
)
_SHORTEST_INTERVAL: Final = 0.2
_HZ_TOLERANCE: Final = 0.05


def add(address: str) -> str:
    """Return the text that adds or renews a client when written to a list."""
    return f"+{address}"


def remove(address: str) -> str:
    """Return the text that removes a client when written to a list; removing an unlisted client is no error."""
    return f"-{address}"


def write_argv(*writes: tuple[str, str]) -> tuple[str, ...]:
    """Return the command that writes to recent lists: pairs of a list and the text to write, in order.

    Each pair is a write of its own, since the kernel takes one command per write (recent_mt_proc_write). The command
    ends with 1 at the first list that does not exist. Lists and texts are arguments, never part of the script.
    """
    return ("sh", "-c", _WRITE_SCRIPT, "write", *(word for write in writes for word in write))


@dataclass(frozen=True)
class ClockSample:
    """A node's jiffies, and its uptime in seconds, read together."""

    jiffies: int
    uptime: float


@dataclass(frozen=True)
class Clock:
    """The moment at which a node's recent lists were read, in jiffies as their stamps."""

    jiffies: int
    hz: int


@dataclass(frozen=True)
class Entry:
    """A client in a recent list; ``last_seen`` and ``stamps`` are jiffies, ``ttl`` is 0 for an entry added by hand.

    ``stamps`` is a ring and unsorted once it is full; ``index`` (``oldest_pkt`` in the file) is the
    slot of the next stamp. ``written`` is the address as the file has it (see ``as_listed``). ``capacity`` is how many
    stamps an entry has at most.
    """

    address: str
    ttl: int
    last_seen: int
    index: int
    stamps: tuple[int, ...]
    written: str = field(default="", compare=False)
    capacity: int = field(default=MAX_STAMPS, compare=False)

    @property
    def connections(self) -> int:
        """The number of new connections, exact below ``capacity``."""
        return len(self.stamps)

    def age(self, clock: Clock) -> float:
        """Return the seconds since the last new connection."""
        return (clock.jiffies - self.last_seen) / clock.hz

    def is_live(self, clock: Clock, timeout_seconds: int) -> bool:
        """Return whether ``--rcheck --seconds timeout_seconds`` would match: any stamp of that age or younger."""
        oldest = clock.jiffies - timeout_seconds * clock.hz
        return any(stamp >= oldest for stamp in self.stamps)

    def expires_in(self, clock: Clock, timeout_seconds: int) -> float:
        """Return the seconds until the entry expires; negative when it has expired."""
        return timeout_seconds - self.age(clock)


@dataclass(frozen=True)
class RecentList:
    """A recent list; its entries are in the order of the file, which is by hash bucket and not by time."""

    name: str
    entries: tuple[Entry, ...] = ()

    def entry(self, address: str) -> Entry | None:
        """Return a client's entry, live or expired; None when the client is not listed."""
        wanted = canonical(address)
        return next((entry for entry in self.entries if entry.address == wanted), None)


def canonical(address: str) -> str:
    """Return an address as the API writes it; the file has IPv6 as eight full groups. Raises ValueError."""
    return str(ipaddress.ip_address(address))


def as_listed(address: str) -> str:
    """Return an address as the kernel writes it to a list: IPv6 in eight full groups (%pI6). Raises ValueError."""
    return ipaddress.ip_address(address).exploded


def max_stamps(parameter: str) -> int:
    """Return how many stamps an entry has at most, given what the module's parameter ``ip_pkt_list_tot`` is.

    The kernel rounds it up to a power of two, and 0 leaves it alone (recent_mt_check). Raises ValueError.
    """
    packets = int(parameter or 0)
    return 1 << (packets - 1).bit_length() if packets else MAX_STAMPS


def parse(name: str, text: str, capacity: int = MAX_STAMPS) -> RecentList:
    """Parse the text of one list; raises NodeError on a line of another format.

    A list has each client once. Kernels before 5.6 repeat a line when the file is read in pieces (commit db25517a5509,
    recent_seq_next): of lines of one client the last one, which was read last, counts.
    """
    entries = (_entry(name, line, capacity) for line in text.splitlines() if line.strip())
    return RecentList(name, tuple({entry.address: entry for entry in entries}.values()))


def derive_hz(first: ClockSample, second: ClockSample) -> int:
    """Return a kernel's tick rate (CONFIG_HZ) from two samples, best taken a second apart: uptime has hundredths.

    Raises NodeError when they are less than 0.2 s apart or no rate of KERNEL_HZ is within 5 %.
    """
    elapsed = second.uptime - first.uptime
    if elapsed < _SHORTEST_INTERVAL:
        raise NodeError(
            f"two clock samples are {elapsed:.2f} s apart, too close to derive the tick rate",
            next_step=f"take them at least {_SHORTEST_INTERVAL} s apart",
        )
    rate = (second.jiffies - first.jiffies) / elapsed
    nearest = min(KERNEL_HZ, key=lambda hz: abs(rate - hz))
    if abs(rate - nearest) > _HZ_TOLERANCE * nearest:
        raise NodeError(
            f"jiffies advanced by {second.jiffies - first.jiffies} in {elapsed:.2f} s, {rate:.1f} a second: "
            f"not a tick rate of Linux ({', '.join(map(str, KERNEL_HZ))})",
            next_step="take two samples a second apart on a machine that is not stalled",
        )
    return nearest


def _entry(name: str, line: str, capacity: int) -> Entry:
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
                capacity,
            )
    except ValueError:
        pass
    raise NodeError(f"{DIRECTORY}/{name}: cannot parse {line!r}", next_step="compare the kernel's recent_seq_show()")
