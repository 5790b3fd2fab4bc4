"""Parse the nftables rules that ``nft -j`` prints into clauses.

Rules are compared by clauses and never as text: releases of nft print flags, types and protocols differently. An
expression that is not known here is kept as printed, so that it becomes a difference and not an error.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from session_affinity.dataplane.model import host_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERDICTS: Final = frozenset({"goto", "jump", "accept", "drop", "return", "continue"})
_PROTOCOLS: Final = {"6": "tcp", "17": "udp", "132": "sctp"}


@dataclass(frozen=True)
class Clause:
    """One expression of a rule: a verb, the packet field it applies to, and the value or target.

    ``branches`` are the elements of an anonymous map, key and verdict or DNAT target.
    """

    verb: str
    subject: str = ""
    operand: str = ""
    branches: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        branches = f"{{ {', '.join(f'{key} : {value}' for key, value in self.branches)} }}" if self.branches else ""
        match self.verb:
            case "match":
                words: tuple[str, ...] = (self.subject, self.operand)
            case "vmap":
                words = (self.subject, "vmap", self.operand, branches)
            case "dnat":
                words = ("dnat to", self.operand, self.subject, "map" if branches else "", branches)
            case "update" | "add" | "delete":
                words = (self.verb, self.operand, f"{{ {self.subject} }}")
            case _:
                words = (self.verb, self.subject, self.operand, branches)
        return " ".join(filter(None, words))


@dataclass(frozen=True)
class NftRule:
    """A rule of a chain, without counters; ``number`` counts from 1 in the order of ``nft list chain``."""

    chain: str
    number: int
    clauses: tuple[Clause, ...]
    comment: str = field(default="", compare=False)

    def clause(self, *verbs: str) -> Clause | None:
        """Return the first clause with one of these verbs; None when the rule has none."""
        return next((clause for clause in self.clauses if clause.verb in verbs), None)

    def match_on(self, subject: str) -> str:
        """Return the operand of the match on a packet field; empty when the rule has no such match."""
        matches = (clause for clause in self.clauses if (clause.verb, clause.subject) == ("match", subject))
        return next((clause.operand for clause in matches), "")

    @property
    def target(self) -> str:
        """The chain of the rule's goto or jump; empty when it has none, as a rule with a verdict map."""
        verdict = self.clause("goto", "jump")
        return verdict.operand if verdict else ""

    @property
    def spec(self) -> str:
        """The rule in the syntax of nft."""
        return " ".join(map(str, self.clauses)) or "a rule without expressions"

    def __str__(self) -> str:
        return f"chain {self.chain} {self.spec}"


def read_rule(chain: str, number: int, item: Mapping[str, Any]) -> NftRule:
    """Parse a rule as printed."""
    clauses = [
        _clause(verb, body)
        for expression in item.get("expr") or ()
        for verb, body in expression.items()
        if verb != "counter"
    ]
    return NftRule(chain, number, tuple(clauses), item.get("comment") or "")


def _clause(verb: str, body: Any) -> Clause:
    """Return an expression as a clause; an unknown one keeps its JSON."""
    reader = _CLAUSES.get(verb)
    try:
        if reader:
            return reader(verb, body)
    except (KeyError, TypeError, ValueError):
        pass
    return Clause(verb, operand=_json(body) if body else "")


def _match(verb: str, body: Any) -> Clause:
    subject, operand, operator = word(body["left"]), word(body["right"]), body.get("op", "==")
    if subject == "meta mark" and isinstance(body["right"], dict) and "prefix" in body["right"]:
        # nft prints the highest bit of a mark, and no other, as a prefix of length 1.
        prefix = body["right"]["prefix"]
        subject, operand = f"meta mark & {_prefix_mask(int(prefix['len']))}", word(prefix["addr"])
    operand = protocol(operand) if subject.endswith("l4proto") else operand
    return Clause(verb, subject, operand if operator in ("==", "in") else f"{operator} {operand}")


def _prefix_mask(length: int) -> int:
    """Return the mask of 32 bits of a prefix."""
    return (1 << 32) - (1 << (32 - length))


def _choice(verb: str, key: Any, data: Any) -> Clause:
    """Return the clause of a lookup by key, in an anonymous map or in a named one."""
    if isinstance(data, str):
        return Clause(verb, word(key), data)
    return Clause(
        verb, word(key), branches=tuple((word(branch), _branch_target(value)) for branch, value in data["set"])
    )


def _dnat(verb: str, body: Any) -> Clause:
    address = body["addr"]
    if isinstance(address, dict) and "map" in address:
        return _choice(verb, address["map"]["key"], address["map"]["data"])
    return Clause(verb, operand=_at(address, body.get("port")))


def _masquerade(verb: str, body: Any) -> Clause:
    return Clause(verb, operand=" ".join(words((body or {}).get("flags") or ())))


def _reject(verb: str, body: Any) -> Clause:
    """Return a refusal; the default of either IP family is the same clause, printed or not."""
    kind, reason = (body or {}).get("type") or "icmp", (body or {}).get("expr") or "port-unreachable"
    return Clause(verb, operand=reason if kind in ("icmp", "icmpv6") else f"with {kind} {reason}")


def _verdict(verb: str, body: Any) -> Clause:
    return Clause(verb, operand=body["target"] if body else "")


_CLAUSES: Final[Mapping[str, Callable[[str, Any], Clause]]] = {
    "match": _match,
    "vmap": lambda verb, body: _choice(verb, body["key"], body["data"]),
    "set": lambda _, body: Clause(body["op"], word(body["elem"]), body["set"]),
    "mangle": lambda _, body: Clause("set", word(body["key"]), word(body["value"])),
    "dnat": _dnat,
    "masquerade": _masquerade,
    "reject": _reject,
    **dict.fromkeys(VERDICTS, _verdict),
}


def _branch_target(value: Any) -> str:
    """Return the target of a branch: a verdict, or the address and port of an endpoint."""
    return _at(*value["concat"]) if isinstance(value, dict) and "concat" in value else word(value)


def _at(address: Any, port: Any) -> str:
    return word(address) if port is None else host_port(word(address), int(port))


def word(value: Any) -> str:
    """Return an expression in the syntax of nft; an unknown one keeps its JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, dict) or len(value) != 1:
        return _json(value)
    ((name, body),) = value.items()
    writer = _WORDS.get(name)
    try:
        if writer:
            return writer(body)
    except (KeyError, TypeError):
        pass
    return name if body is None else f"{name} {_json(body)}"


def _numgen(body: Any) -> str:
    return f"numgen {body['mode']} mod {body['mod']}" + (f" offset {body['offset']}" if body.get("offset") else "")


def _operator(sign: str) -> Callable[[Any], str]:
    return lambda parts: f" {sign} ".join(map(word, parts))


_WORDS: Final[Mapping[str, Callable[[Any], str]]] = {
    "payload": lambda body: f"{body['protocol']} {body['field']}",
    "meta": lambda body: f"meta {body['key']}",
    "ct": lambda body: f"ct {body['key']}",
    "range": lambda ends: "-".join(map(word, ends)),
    "prefix": lambda body: f"{body['addr']}/{body['len']}",
    "concat": lambda parts: " . ".join(map(word, parts)),
    "set": lambda parts: f"{{ {', '.join(map(word, parts))} }}",
    "fib": lambda body: f"fib {' . '.join(words(body['flags']))} {body['result']}",
    "numgen": _numgen,
    "goto": lambda body: f"goto {body['target']}",
    "jump": lambda body: f"jump {body['target']}",
    "elem": lambda body: word(body["val"]),
    **{sign: _operator(sign) for sign in ("|", "^", "&", "<<", ">>")},
}


def words(value: Any) -> tuple[str, ...]:
    """Return a value that nft prints as a list, or bare when it has one item."""
    return (value,) if isinstance(value, str) else tuple(map(str, value))


def protocol(written: str) -> str:
    """Return a protocol's name; nft prints the number on nodes that have no name for it."""
    return _PROTOCOLS.get(written, written)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
