"""Only session_affinity/waiting.py polls: no other module sleeps, or loops until a moment."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.unit

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("session_affinity", "fixtures", "ci")
WAITING: Final = "session_affinity/waiting.py"
ALLOWED: Final = {
    "session_affinity/agents/node_agent.py:main": "the main loop of an agent: it has no deadline",
    "session_affinity/agents/coordinator.py:_listening": "the coordinator waits in its event loop, with a deadline",
    "session_affinity/nodes/nodes.py:_sample_after": "the distance between two samples of a clock is what is measured",
    "session_affinity/clusters/kind/cluster.py:_remaining_containers": "the engine does not report the last node",
    "session_affinity/clusters/kind/process.py:_read": "waits in select() for a program's output, at most that long",
    "session_affinity/nodes/open_shells.py:update": "waits in select() for a command's output, at most that long",
    "session_affinity/clusters/embedded/node_init.py:_supervise": "the main loop of a node: it has no deadline",
}
"""Functions that sleep, or loop with a clock, and why they may."""


def polls(source: str) -> list[str]:
    """Return the names of the functions that call ``time.sleep``, or ``time.monotonic`` in a ``while`` loop."""
    if "sleep(" not in source and "monotonic(" not in source:
        return []
    return list(dict.fromkeys(_polls(ast.parse(source), "module", in_loop=False)))


def _polls(node: ast.AST, function: str, *, in_loop: bool) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        function, in_loop = node.name, False
    in_loop = in_loop or isinstance(node, ast.While)
    if _calls(node, "sleep") or (in_loop and _calls(node, "monotonic")):
        yield function
    for child in ast.iter_child_nodes(node):
        yield from _polls(child, function, in_loop=in_loop)


def _calls(node: ast.AST, name: str) -> bool:
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    return (isinstance(called, ast.Attribute) and called.attr == name) or (
        isinstance(called, ast.Name) and called.id == name
    )


@functools.cache
def polling_functions() -> set[str]:
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    names = [str(file.relative_to(ROOT)) for file in files]
    assert WAITING in names
    return {
        f"{name}:{function}"
        for name, file in zip(names, files, strict=True)
        if name != WAITING
        for function in polls(file.read_text())
    }


def test_no_other_module_polls() -> None:
    polling = sorted(polling_functions() - ALLOWED.keys())

    assert not polling, f"use wait_until() or poll() of {WAITING} in: {', '.join(polling)}"


def test_allowed_functions_still_exist() -> None:
    assert not ALLOWED.keys() - polling_functions()


@pytest.mark.parametrize(
    ("source", "functions"),
    [
        ("def f():\n  time.sleep(1)", ["f"]),
        ("def f():\n  while time.monotonic() < end: look()", ["f"]),
        ("def f():\n  while True:\n    if time.monotonic() > end: raise E", ["f"]),
        ("def f():\n  began = time.monotonic()\n  while look(): pass", []),
        ("def f():\n  while look():\n    def g(): return time.monotonic()", []),
        ("sleep(1)", ["module"]),
    ],
)
def test_what_counts_as_polling(source: str, functions: list[str]) -> None:
    assert polls(source) == functions
