"""Diffs of the expected and the actual rules of a Service, line by line."""

from __future__ import annotations

import re
from collections import defaultdict
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.iptables.expected import FULL_MASK
from session_affinity.text import first_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.proxy_config import ProxyConfig, ProxyConfigs
    from session_affinity.dataplane.snapshot import NodeSnapshot

_MOST_DIFFERENCES: Final = 20
_PROBABILITY: Final = re.compile(r"(--probability 0\.\d{5})\d*")
_MASKS: Final = re.compile(" --mask (" + "|".join(map(re.escape, FULL_MASK.values())) + ")")


def rules_diff(
    backend: Backend,
    service: ServiceState,
    configs: ProxyConfigs,
    states: Mapping[str, NodeSnapshot],
    *,
    thorough: bool = True,
) -> str:
    """Return each node's rules for a Service beside the expected ones, chain by chain; nodes that differ come first.

    Nodes with the same rules are shown once. A line begins with ``-`` when the rule is expected and missing, with ``+``
    when it is there and not expected. Empty where no node's rules were read. Unless ``thorough``, a node whose rules
    are as expected is not searched for leftovers of former endpoints.
    """
    nodes_by_diff: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, state in states.items():
        if has_rules(state):
            nodes_by_diff[tuple(_node(backend, service, configs.of(name), state, thorough=thorough))].append(name)
    groups = sorted(nodes_by_diff.items(), key=lambda group: (not _differs(group[0]), group[1]))
    return "\n\n".join("\n".join((_head(names, lines), *lines)) for lines, names in groups) + ("\n" if groups else "")


def has_rules(state: NodeSnapshot) -> bool:
    """Return whether a snapshot of a node has the rules of any backend."""
    return bool(state.program) or state.nftables is not None


def _node(
    backend: Backend, service: ServiceState, proxy: ProxyConfig, state: NodeSnapshot, *, thorough: bool
) -> Iterator[str]:
    actual = _by_chain(backend.normalised(state, service))
    expected = _by_chain(backend.expected_lines(state, service, proxy))
    differences = backend.compare(state, service, proxy) if thorough or not _same(expected, actual) else ()
    texts = [str(difference).removeprefix(state.node).strip() for difference in differences]
    yield from (f"! {line}" for line in first_lines(texts, _MOST_DIFFERENCES))
    if not differences:
        # Versions of kube-proxy may still format it differently: the node's own format is shown.
        expected = actual
    for chain in (*expected, *(name for name in actual if name not in expected)):
        yield f"  {chain.removeprefix('-A ')}"
        yield from (f"{sign}   {line}" for sign, line in _diff(expected.get(chain, []), actual.get(chain, [])))


def _by_chain(lines: Iterable[str]) -> dict[str, list[str]]:
    """Return lines by the chain, map or set they belong to, which their first two words name."""
    chains: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        kind, name, *rest = line.split(" ", 2)
        chains[f"{kind} {name}"].append(" ".join(rest))
    return chains


def _diff(expected: Sequence[str], actual: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield lines in order with a sign; lines that differ in format only are the same."""
    left, right = ([_key(line) for line in lines] for lines in (expected, actual))
    for _, low, high, start, end in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if left[low:high] == right[start:end]:
            yield from ((" ", line) for line in actual[start:end])
        else:
            yield from (("-", line) for line in expected[low:high])
            yield from (("+", line) for line in actual[start:end])


def _same(expected: Mapping[str, Sequence[str]], actual: Mapping[str, Sequence[str]]) -> bool:
    keys = ({chain: list(map(_key, lines)) for chain, lines in chains.items()} for chains in (expected, actual))
    return next(keys) == next(keys)


def _key(line: str) -> str:
    """Return a rule without full masks and the last digits of probabilities, which some versions do not print."""
    return _PROBABILITY.sub(r"\1", _MASKS.sub("", line))


def _differs(lines: Sequence[str]) -> bool:
    return any(line[0] in "!-+" for line in lines)


def _head(names: Sequence[str], lines: Sequence[str]) -> str:
    if not _differs(lines):
        return f"# {', '.join(names)}: as expected"
    return f"# {', '.join(names)}: not as expected (! difference, - expected, + seen)"
