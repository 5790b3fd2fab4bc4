"""What an agent answers: the fixed set of questions, each with the one command that it runs on its node.

There is no question by which a caller could run a command of its own.
"""

from __future__ import annotations

import json
import re
import subprocess
import zlib
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Final

from session_affinity.dataplane import codec, judgement, snapshot
from session_affinity.dataplane.judgement import LeftoverQuestion, NodePart, Question
from session_affinity.dataplane.model import FAMILIES, Family
from session_affinity.dataplane.pages import METRICS_ARGV, PAGES_ARGV
from session_affinity.errors import NodeError

_LIST: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")


class Op(StrEnum):
    """The questions."""

    JUDGE = "judge"
    READ = "read"
    PAGES = "pages"
    METRICS = "metrics"


Run = Callable[[Sequence[str]], str]
"""Runs a command on the node and returns its standard output; raises NodeError."""


def question_text(question: Question) -> str:
    """Return a question as JSON text."""
    asked = question.leftovers
    fields = {
        "mode": question.mode,
        "family": question.family,
        "services": codec.encoded(question.services),
        "markers": codec.encoded(question.markers),
        "only_marked": question.only_marked,
        "leftovers": asked and {name: codec.encoded(value) for name, value in vars(asked).items()},
    }
    return json.dumps(fields, separators=(",", ":"))


def part_text(part: NodePart) -> str:
    """Return a node's part of a question as JSON text."""
    return json.dumps([codec.encoded(part.proxy), codec.encoded(part.stale)], separators=(",", ":"))


def question_digest(question: str, part: str, nonce: str) -> str:
    """Return what an answer repeats, so that it cannot be that to another question."""
    return judgement.digest_of([question, part, nonce])


def answer(node: str, asked: dict[str, Any], data: bytes, run: Run) -> tuple[dict[str, Any], bytes]:
    """Return an agent's answer, header and data; raises NodeError."""
    match asked.get("op"):
        case Op.JUDGE:
            return _judge(node, asked, zlib.decompress(data).decode(), run)
        case Op.READ:
            argv = _read_argv(asked)
            return {}, zlib.compress(snapshot.whole(node, lambda: run(argv)).encode())
        case Op.PAGES:
            return {}, zlib.compress(run(PAGES_ARGV).encode())
        case Op.METRICS:
            return {}, zlib.compress(run(METRICS_ARGV).encode())
        case other:
            raise NodeError(f"{node}: an agent answers no {other!r}")


def shell(seconds: float) -> Run:
    """Return what runs commands here, each for so many seconds at most."""

    def run(argv: Sequence[str]) -> str:
        try:
            done = subprocess.run(
                argv,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise NodeError(f"{argv[0]}: {error}") from error
        if done.returncode:
            raise NodeError(f"{argv[0]} ended with {done.returncode}: {done.stderr.strip()[-200:]}")
        return done.stdout

    return run


def _judge(node: str, asked: dict[str, Any], text: str, run: Run) -> tuple[dict[str, Any], bytes]:
    question, part = read_question(text), read_part(asked["part"])
    argv = snapshot.READ_RULES_ARGV.get((question.mode, question.family))
    if argv is None:
        raise NodeError(f"{node}: an agent judges no rules of {question.mode} mode")
    printed = snapshot.whole(node, lambda: run(argv))
    read = snapshot.parse(node, printed)
    found = judgement.judge(read, question, part)
    header: dict[str, Any] = {
        "question": question_digest(text, asked["part"], asked["nonce"]),
        "rules": judgement.digest(read, question),
        "found": found.digest(),
        "equal": found.is_equal,
        "marked": found.marked,
    }
    return header, zlib.compress(printed.encode()) if asked.get("whole") else b""


def read_question(text: str) -> Question:
    """Read a question's JSON text; raises NodeError."""
    try:
        fields = json.loads(text)
        leftovers = fields["leftovers"]
        return Question(
            fields["mode"],
            fields["family"],
            codec.decoded(fields["services"]),
            codec.decoded(fields["markers"]),
            bool(fields["only_marked"]),
            leftovers and LeftoverQuestion(**{name: codec.decoded(value) for name, value in leftovers.items()}),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise NodeError(f"a question that cannot be read: {type(error).__name__}: {error}") from error


def read_part(text: str) -> NodePart:
    """Read the JSON text of a node's part; raises NodeError."""
    try:
        proxy, stale = codec.decoded(json.loads(text))
        return NodePart(proxy, stale)
    except (ValueError, TypeError) as error:
        raise NodeError(f"a question that cannot be read: {type(error).__name__}: {error}") from error


def _read_argv(asked: dict[str, Any]) -> Sequence[str]:
    family: Family = asked.get("family", "")
    lists = asked.get("clock") or ()
    if family not in FAMILIES or not all(_LIST.fullmatch(name) for name in lists):
        raise NodeError("a reading of no IP family, or of lists that are none")
    argv = snapshot.READ_ARGV[family]
    return snapshot.with_clock(argv, lists) if lists else argv
