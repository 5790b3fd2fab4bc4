"""Read a node's Service rules, affinity entries and clock with one command, and parse its output.

The command is constant, runs in dash and in busybox, and ends with 0 whatever is missing. It prints sections that each
begin with a line of their own, so that a section that could not be read differs from an empty one.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn

import tenacity

from session_affinity.dataplane import conntrack, xt_recent
from session_affinity.dataplane.iptables import save
from session_affinity.dataplane.model import FAMILIES, Family
from session_affinity.dataplane.nftables import table
from session_affinity.errors import NodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from session_affinity.dataplane.conntrack import Flow
    from session_affinity.dataplane.iptables.save import Ruleset
    from session_affinity.dataplane.nftables.table import Table
    from session_affinity.dataplane.xt_recent import Clock, ClockSample, RecentList

READS: Final = 10
"""How often rules are read that change while they are read."""
_MARK: Final = "@@affinity "
_SERVICES_CHAIN: Final = "KUBE-SERVICES"
_HANDLE: Final = re.compile(r'"rule": \{[^{}]*?"handle": (\d+)')

_WORDS: Final = r"""
say() { printf '@@affinity %s\n' "$*"; }
has() { command -v "$1" >/dev/null 2>&1; }
"""
# The legacy tables are read only where the kernel lists them: reading them creates them, empty, for good.
# A save program prints all tables in the time that it takes for one; it ends with an error if one cannot be read.
# Its output goes straight through, as a shell needs a third of that time again to keep half a megabyte. The next
# program is tried unless kube-proxy's chain is there. To list that one chain takes a millisecond, and as long as to
# list all in legacy tables, so that no other is tried once a program is known to have kube-proxy's.
# Legacy tables are read one after another, and kube-proxy writes filter before nat: read in the other order, the filter
# table is never older than the nat table. nf_tables prints all tables as they were at one moment.
_RULES: Final = r"""
legacy() {
  while read -r table; do [ "$table" = nat ] && return 0; done </proc/net/ip@6@_tables_names
  return 1
} 2>/dev/null
two() { "$1" -t nat && "$1" -t filter; }
all() { if legacy; then two "$1"; else "$1"; fi; }
rules() {
  has "$1" || { say missing "$1"; return 1; }
  say rules "$1"
  all "$1" 2>/dev/null || { ended=$?; echo; say rules "$1"; two "$1" 2>/dev/null; } || {
    echo; say failed "$1" "$ended"; return 1
  }
}
save() { rules "$1" && "${1%-save}" -t nat -S KUBE-NODEPORTS >/dev/null 2>&1; }
@programs@
"""
NF_TABLES: Final = "nf_tables"
"""The ``variant`` of rules that are in the nf_tables of the kernel, where one chain can be listed alone."""
NO_CHAIN: Final = 1
"""The exit code of ``chain_argv`` for a chain that does not exist, and for some other errors."""
_PROGRAMS: Final = ("ip@6@tables-save", "ip@6@tables-nft-save", "ip@6@tables-legacy-save")
_ANY_PROGRAM: Final = "save {} || save {} || {{ legacy && save {}; }}".format(*_PROGRAMS)
# Where /proc/timer_list is masked, writing to a recent list still stamps an entry. 192.0.2.1 is for documentation.
_STAMP: Final = r"""
stamp() {
  for list do
    file=/proc/net/xt_recent/$list
    [ -w "$file" ] && echo +192.0.2.1 >"$file" || continue
    grep -m1 '^src=192\.0\.2\.1 ' "$file" | { read -r _ _ _ _ seen _ && printf 'jiffies: %s\n' "$seen"; } && return
  done
} 2>/dev/null
"""
_UPTIME: Final = r"""read -r uptime rest </proc/uptime && printf 'uptime: %s\n' "$uptime"
"""
# One grep reads every recent list: it puts the name of the file before each line.
_LISTS: Final = rf"""{_STAMP}
if [ -d /proc/net/xt_recent ]; then
  say lists /proc/net/xt_recent/*
  grep '' /proc/net/xt_recent/* /dev/null 2>/dev/null
  read -r packets </sys/module/xt_recent/parameters/ip_pkt_list_tot && say packets "$packets"
else
  say missing xt_recent
fi
say clock
grep -m1 '^jiffies:' /proc/timer_list 2>/dev/null || stamp "$@"
{_UPTIME}"""
_NFTABLES: Final = r"""
if has nft; then
  say nft
  nft -j list table ip@6@ kube-proxy 2>/dev/null || { echo; say without nft; }
else
  say missing nft
fi
"""
_FLOWS: Final = r"""
if has conntrack; then
  say flows
  conntrack -L -f ipv@46@ --dst-nat 2>/dev/null
elif [ -r /proc/net/nf_conntrack ]; then
  say flows
  grep '^ipv@46@ ' /proc/net/nf_conntrack
else
  say missing conntrack
fi
"""
_END: Final = f"say end\n{_UPTIME}exit 0\n"


def chain_argv(program: str, chain: str) -> tuple[str, ...]:
    """Return the command that lists one chain of the nat table, and ends with ``NO_CHAIN`` where there is none.

    ``program`` is the save program. In nf_tables it takes two milliseconds, whatever other chains there are; with
    legacy tables it takes as long as to read all.
    """
    return (program.removesuffix("-save"), "-t", "nat", "-S", chain)


def with_clock(argv: Sequence[str], lists: Iterable[str]) -> tuple[str, ...]:
    """Return a command of this module that reads jiffies from a recent list on nodes where /proc/timer_list is masked.

    Each read stamps the entry of 192.0.2.1 in the first of ``lists`` that exists, so they must belong to a Service
    made for this purpose.
    """
    return (*argv, "read", *lists)


def _argv(family: Family, *parts: str, programs: str = _ANY_PROGRAM) -> tuple[str, ...]:
    script = "".join((_WORDS, *parts, _END)).replace("@programs@", programs)
    return ("sh", "-c", _in_family(family, script))


def _in_family(family: Family, text: str) -> str:
    six, version = ("6", "6") if family == "IPv6" else ("", "4")
    return text.replace("@6@", six).replace("@46@", version)


READ_ARGV: Final[Mapping[Family, tuple[str, ...]]] = {
    family: _argv(family, _RULES, _LISTS, _NFTABLES) for family in FAMILIES
}
"""The command that reads rules, recent lists, the clock and kube-proxy's nftables table, by IP family."""
READ_BY_ARGV: Final[Mapping[str, tuple[str, ...]]] = {
    _in_family(family, program): _argv(family, _RULES, _LISTS, _NFTABLES, programs=f"rules {program}")
    for family in FAMILIES
    for program in _PROGRAMS
}
"""The same command by the save program that it reads rules with, which has those of kube-proxy."""
READ_RULES_ARGV: Final[Mapping[tuple[str, Family], tuple[str, ...]]] = {
    (mode, family): _argv(family, part)
    for mode, part in (("iptables", _RULES), ("nftables", _NFTABLES))
    for family in FAMILIES
}
"""The command that reads the rules of one mode alone, by mode and IP family."""
READ_RULES_BY_ARGV: Final[Mapping[str, tuple[str, ...]]] = {
    _in_family(family, program): _argv(family, _RULES, programs=f"rules {program}")
    for family in FAMILIES
    for program in _PROGRAMS
}
"""The command that reads the rules of iptables mode alone, by the save program, which has those of kube-proxy."""
READ_WITH_FLOWS_ARGV: Final[Mapping[Family, tuple[str, ...]]] = {
    family: _argv(family, _RULES, _LISTS, _NFTABLES, _FLOWS) for family in FAMILIES
}
"""The command that reads conntrack entries too, by IP family; it takes longer the more there are."""
READ_LISTS_ARGV: Final = _argv("IPv4", _LISTS)
"""The command that reads only the recent lists and the clock."""


@dataclass(frozen=True)
class NodeSnapshot:
    """The dataplane of one node at one moment.

    ``ruleset`` has the nat and the filter table.
    ``program`` is the save program that printed the rules and ``variant`` its kernel backend, nf_tables or legacy; both
    are empty when no save program ran. ``lists`` are the recent lists by name, empty ones included. ``flows`` is None
    when conntrack entries were not requested or cannot be read. ``max_stamps`` is how many connection times an entry of
    a list has at most. ``nftables`` is kube-proxy's table, None when it does
    not exist. ``jiffies`` is None when /proc/timer_list is masked and no recent list could be stamped instead.
    ``uptime`` is the moment of ``jiffies`` in seconds: rules and lists are read before it, the nftables table and
    conntrack entries between it and the uptime ``read_until``. ``missing`` names what could not be read. With
    ``rules_only`` the affinity entries were not read, and asking for them raises NodeError.
    """

    node: str
    ruleset: Ruleset = field(default_factory=save.Ruleset)
    lists: Mapping[str, RecentList] = field(default_factory=dict)
    flows: tuple[Flow, ...] | None = None
    nftables: Table | None = None
    jiffies: int | None = None
    uptime: float | None = None
    read_until: float | None = None
    program: str = ""
    variant: str = ""
    missing: tuple[str, ...] = ()
    max_stamps: int = xt_recent.MAX_STAMPS
    rules_only: bool = False

    @property
    def has_kube_proxy(self) -> bool:
        """Whether kube-proxy's chains are in the rules that were read; never so in nftables mode."""
        return _SERVICES_CHAIN in self.ruleset.chains()

    @property
    def sample(self) -> ClockSample:
        """Jiffies and uptime, to derive the tick rate from two of them; raises NodeError when jiffies are unknown."""
        return xt_recent.ClockSample(self._jiffies(), self.uptime or 0.0)

    def clock(self, hz: int) -> Clock:
        """Return the clock that the entries of ``lists`` are judged by; raises NodeError when jiffies are unknown."""
        return xt_recent.Clock(self._jiffies(), hz)

    def _jiffies(self) -> int:
        if self.jiffies is None:
            raise NodeError(
                f"{self.node}: no jiffies in /proc/timer_list",
                next_step="read the node as root where /proc/timer_list is not masked, as in a privileged container",
            )
        return self.jiffies


class _NotRead(Mapping[Any, Any]):
    """Affinity entries that were not read."""

    def _refuse(self) -> NoReturn:
        raise NodeError(
            "of this node the rules of Services are known, and not its affinity entries",
            next_step="read the node itself",
        )

    def __getitem__(self, key: object) -> NoReturn:
        self._refuse()

    def __iter__(self) -> NoReturn:
        self._refuse()

    def __len__(self) -> NoReturn:  # noqa: PLE0303
        self._refuse()


def of_another(node: str, read: NodeSnapshot) -> NodeSnapshot:
    """Return the snapshot of a node whose rules for the Services in question are those that were read on another.

    All else may differ between the two: the affinity entries are not those of this node, and asking for them raises
    NodeError.
    """
    if read.rules_only:
        return replace(read, node=node)
    nftables = read.nftables
    if nftables is not None:
        sets = {
            name: each if each.timeout is None else replace(each, elements=_NotRead())
            for name, each in nftables.sets.items()
        }
        nftables = replace(nftables, sets=MappingProxyType(sets))
    return replace(
        read,
        node=node,
        lists=_NotRead(),
        nftables=nftables,
        flows=None,
        jiffies=None,
        uptime=None,
        read_until=None,
        rules_only=True,
    )


def whole(node: str, read: Callable[[], str]) -> str:
    """Return what a command of this module prints, which is read again while its rules are torn.

    On a busy node iptables-save (1.8.9, nf_tables) now and then fetches a table again because it changed meanwhile, and
    prints what it had fetched before too: 6 of 7300 reads at a load of 50, with up to 18 times the same rules. So does
    nft (1.0.6) where chains come and go: 10 of 165 reads beside constant changes, for twenty chains each. Raises
    NodeError when that happens ``READS`` times in a row, and what ``read`` raises.
    """
    reading = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(READS),
        retry=tenacity.retry_if_result(is_torn),
        retry_error_callback=lambda _: "",
    )
    if text := reading(read):
        return text
    raise NodeError(
        f"{node}: chains or rules were printed twice, {READS} times in a row: they changed while they were read",
        next_step="see what writes rules on the node all the time",
    )


def is_torn(stdout: str) -> bool:
    """Return whether what a command of this module printed has a chain of iptables or a rule of nftables twice.

    Rules of nftables are the same where their handles are: the kernel gives each number once in a table.
    """
    sections = _sections(stdout)
    _, rules = _rules(sections)
    # A table begins with its chains: the rules after them need not be searched.
    printed = (table.partition("\n-")[0].split("\n") for table in rules.split("\n*"))
    by_table = ([line.partition(" ")[0] for line in lines if line.startswith(":")] for lines in printed)
    handles = _HANDLE.findall(sections.get("nft", ("", ""))[1])
    return any(len(names) != len(set(names)) for names in (*by_table, handles))


def parse(node: str, stdout: str) -> NodeSnapshot:
    """Parse the output of a command of this module; raises NodeError when it is cut short or cannot be parsed."""
    sections = _sections(stdout)
    if "end" not in sections:
        raise NodeError(f"{node}: the output of the read was cut short, it ends with {stdout.strip()[-300:]!r}")
    try:
        return _snapshot(node, sections)
    except NodeError as error:
        raise NodeError(f"{node}: {error.what}", next_step=error.next_step) from error


def parse_rules(node: str, stdout: str) -> NodeSnapshot:
    """Parse what a command printed that reads the rules of iptables mode alone; raises as ``parse`` does."""
    return replace(parse(node, stdout), lists=_NotRead(), rules_only=True)


# Cached: what a command printed is looked at twice, and hashed once.
@functools.lru_cache(maxsize=8)
def _sections(stdout: str) -> Mapping[str, tuple[str, str]]:
    """Return the words after each section's name, and its text; a note has its whole line as the name.

    So has the output of a save program, of which the last counts.
    """
    sections: dict[str, tuple[str, str]] = {}
    for piece in f"\n{stdout}".split(f"\n{_MARK}")[1:]:
        head, _, text = piece.partition("\n")
        name, _, words = head.partition(" ")
        sections[head if name in ("missing", "failed", "rules") else name] = (words, text)
    return MappingProxyType(sections)


def _rules(sections: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    """Return the save program whose output counts, and that output; both are empty where none could print.

    The first one with kube-proxy's chains counts, and otherwise the first one.
    """
    failed = {words.partition(" ")[0] for head, (words, _) in sections.items() if head.startswith("failed ")}
    printed = [each for head, each in sections.items() if head.startswith("rules ") and each[0] not in failed]
    with_services = (each for each in printed if f":{_SERVICES_CHAIN}" in each[1])
    return next(with_services, printed[0] if printed else ("", ""))


def _snapshot(node: str, sections: Mapping[str, tuple[str, str]]) -> NodeSnapshot:
    nothing = ("", "")
    program, rules = _rules(sections)
    clock, end = (
        dict(line.split(": ", 1) for line in sections.get(name, nothing)[1].splitlines() if ": " in line)
        for name in ("clock", "end")
    )
    nft = None if sections.get("without", nothing)[0] == "nft" else sections.get("nft")
    flows = sections.get("flows")
    max_stamps = xt_recent.max_stamps(sections.get("packets", nothing)[0])
    return NodeSnapshot(
        node=node,
        ruleset=_ruleset(rules),
        lists=_lists(*sections.get("lists", nothing), max_stamps),
        flows=conntrack.parse(flows[1]) if flows else None,
        nftables=table.parse(_json(nft[1])) if nft else None,
        jiffies=int(clock["jiffies"]) if "jiffies" in clock else None,
        uptime=float(clock["uptime"]) if "uptime" in clock else None,
        read_until=float(end["uptime"]) if "uptime" in end else None,
        program=program,
        variant=_variant(rules) if program else "",
        missing=tuple(head for head in sections if head.startswith(("missing ", "failed "))),
        max_stamps=max_stamps,
    )


def _ruleset(rules: str) -> Ruleset:
    """Return the tables that kube-proxy writes rules of Services to; a filter table that does not exist is empty."""
    tables = save.parse(rules, ("nat", "filter")).tables
    return save.Ruleset(MappingProxyType({"filter": MappingProxyType({}), **tables}) if "nat" in tables else tables)


def _lists(paths: str, text: str, max_stamps: int) -> Mapping[str, RecentList]:
    prefix = f"{xt_recent.DIRECTORY}/"
    lists: dict[str, list[str]] = {path.removeprefix(prefix): [] for path in paths.split() if path != f"{prefix}*"}
    for line in text.splitlines():
        name, separator, entry = line.removeprefix(prefix).partition(":src=")
        if not separator:
            raise NodeError(f"the recent lists cannot be read: {line!r}")
        lists.setdefault(name, []).append(f"src={entry}")
    return MappingProxyType(
        {name: xt_recent.parse(name, "\n".join(lines), max_stamps) for name, lines in lists.items()}
    )


def _variant(rules: str) -> str:
    return NF_TABLES if f"({NF_TABLES})" in rules.partition("\n")[0] else "legacy"


def _json(text: str) -> Mapping[str, Any]:
    try:
        printed = json.loads(text)
    except ValueError as error:
        raise NodeError(f"nft printed no JSON: {text[:200]!r}") from error
    if not isinstance(printed, dict):
        raise NodeError(f"nft printed no JSON object: {text[:200]!r}")
    return printed
