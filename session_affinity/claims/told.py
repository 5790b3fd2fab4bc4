"""What the tests of the suite say of the claims they check, read from their source: nothing is imported or run."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SUITE: Final = Path(__file__).resolve().parents[2] / "suite"
SECTIONS: Final = ("Preconditions", "Steps", "Expected")
EVERY_CLAIM: Final = "affinity"
"""The marker of all claims, which is no subject."""


@dataclass(frozen=True)
class Told:
    """One test: the claim it checks, where it is, what it is about, and its docstring by section.

    ``statement`` is the first paragraph; it begins with the claim's title. ``subjects`` are the module's markers.
    """

    claim: str
    module: str
    test: str
    subjects: tuple[str, ...]
    statement: str
    preconditions: str
    steps: str
    expected: str


def read_suite(directory: Path = SUITE) -> tuple[Told, ...]:
    """Return what each test of a claim says, module by module; raises UsageError where a docstring lacks sections."""
    return tuple(told for module in sorted(directory.glob("test_*.py")) for told in _read_module(module))


def subjects(told: Iterable[Told]) -> tuple[str, ...]:
    """Return every subject once, in the order they come in."""
    return tuple(dict.fromkeys(subject for one in told for subject in one.subjects))


def claim_ids(test: ast.FunctionDef) -> tuple[str, ...]:
    """Return the ids in the ``claim`` decorators of a test."""
    calls = [one for one in test.decorator_list if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)]
    return tuple(
        str(call.args[0].value)
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "claim" and isinstance(call.args[0], ast.Constant)
    )


def _read_module(path: Path) -> Iterator[Told]:
    module = ast.parse(path.read_text())
    about = tuple(name for name in _markers(module) if name != EVERY_CLAIM)
    for test in module.body:
        if isinstance(test, ast.FunctionDef):
            for claim in claim_ids(test):
                own = tuple(name for one in test.decorator_list if (name := _marker(one)))
                said = _sections(ast.get_docstring(test) or "", f"{path.name}::{test.name}")
                yield Told(claim, f"suite/{path.name}", test.name, (*about, *own), *said)


def _markers(module: ast.Module) -> Iterator[str]:
    """Yield the names of the markers in ``pytestmark``."""
    for node in module.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "pytestmark" for t in node.targets):
            yield from filter(None, (_marker(one) for one in ast.walk(node.value)))


def _marker(node: ast.AST) -> str:
    """Return the name of a marker without arguments, ``pytest.mark.NAME``; empty for any other expression."""
    if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pytest.mark":
        return node.attr
    return ""


def _sections(docstring: str, where: str) -> tuple[str, ...]:
    text = inspect.cleandoc(docstring)
    parts = re.split(rf"^({'|'.join(SECTIONS)}): ", text, flags=re.MULTILINE)
    if tuple(parts[1::2]) != SECTIONS:
        raise UsageError(
            f"{where}: its docstring has sections {', '.join(parts[1::2]) or 'of no name'}",
            next_step=f"a test of a claim has {', '.join(SECTIONS)}, in this order",
        )
    return tuple(" ".join(part.split()) for part in (parts[0], *parts[2::2]))
