"""What nodes should hold for a Service and what they hold, line by line."""

from __future__ import annotations

import re
from collections import defaultdict
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.iptables.expected import FULL_MASK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.model import ProxyConfig, ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot

_MOST_DIFFERENCES: Final = 20
_PROBABILITY: Final = re.compile(r"(--probability 0\.\d{5})\d*")
_MASKS: Final = re.compile(" --mask (" + "|".join(map(re.escape, FULL_MASK.values())) + ")")


def rules_diff(
    backend: Backend,
    service: ServiceState,
    proxy: ProxyConfig,
    states: Mapping[str, NodeSnapshot],
    *,
    thorough: bool = True,
) -> str:
    """Return what each node holds for a Service beside what it owes, chain by chain.

    Nodes that hold the same are shown once. A line begins with a minus when it is expected and missing, with a plus
    when it is there and should not be. Empty where no node's rules were read. Unless ``thorough``, a node that holds
    what it owes is not searched for what is left of former endpoints besides.
    """
    held: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, state in states.items():
        if has_rules(state):
            held[tuple(_node(backend, service, proxy, state, thorough=thorough))].append(name)
    # Nodes that differ first: they are what is looked for.
    groups = sorted(held.items(), key=lambda one: (not _differs(one[0]), one[1]))
    return "\n\n".join("\n".join((_head(names, lines), *lines)) for lines, names in groups) + ("\n" if groups else "")


def has_rules(state: NodeSnapshot) -> bool:
    """Whether a reading of a node holds rules of some dataplane."""
    return bool(state.program) or state.nftables is not None


def _node(
    backend: Backend, service: ServiceState, proxy: ProxyConfig, state: NodeSnapshot, *, thorough: bool
) -> Iterator[str]:
    seen = _by_chain(backend.normalised(state, service))
    expected = _by_chain(backend.expected_lines(state, service, proxy))
    differences = backend.compare(state, service, proxy) if thorough or not _same(expected, seen) else ()
    for one in differences[:_MOST_DIFFERENCES]:
        yield f"! {str(one).removeprefix(state.node).strip()}"
    if len(differences) > _MOST_DIFFERENCES:
        yield f"! and {len(differences) - _MOST_DIFFERENCES} more differences"
    if not differences:
        # Versions may still write it differently: then it is shown as the node has it.
        expected = seen
    for chain in (*expected, *(name for name in seen if name not in expected)):
        yield f"  {chain.removeprefix('-A ')}"
        yield from (f"{sign}   {line}" for sign, line in _diff(expected.get(chain, []), seen.get(chain, [])))


def _by_chain(lines: Iterable[str]) -> dict[str, list[str]]:
    """Return lines by what they belong to, which their first two words say: a chain, a map, a set."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        kind, name, *rest = line.split(" ", 2)
        found[f"{kind} {name}"].append(" ".join(rest))
    return found


def _diff(expected: Sequence[str], seen: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield lines in order with a sign; those that only differ in writing are the same."""
    wanted, found = ([_key(line) for line in lines] for lines in (expected, seen))
    for _, low, high, start, end in SequenceMatcher(None, wanted, found, autojunk=False).get_opcodes():
        if wanted[low:high] == found[start:end]:
            yield from ((" ", line) for line in seen[start:end])
        else:
            yield from (("-", line) for line in expected[low:high])
            yield from (("+", line) for line in seen[start:end])


def _same(expected: Mapping[str, Sequence[str]], seen: Mapping[str, Sequence[str]]) -> bool:
    keys = ({chain: list(map(_key, lines)) for chain, lines in held.items()} for held in (expected, seen))
    return next(keys) == next(keys)


def _key(line: str) -> str:
    """Return a rule in one writing: versions print masks and the last digits of probabilities or not."""
    return _PROBABILITY.sub(r"\1", _MASKS.sub("", line))


def _differs(lines: Sequence[str]) -> bool:
    return any(line[0] in "!-+" for line in lines)


def _head(names: Sequence[str], lines: Sequence[str]) -> str:
    if not _differs(lines):
        return f"# {', '.join(names)}: as expected"
    return f"# {', '.join(names)}: not what the Service calls for (! what differs, - expected, + seen)"
