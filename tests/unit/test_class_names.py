"""A class name stands for one thing in the whole project."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.unit

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("session_affinity", "fixtures", "suite", "ci")


def test_no_class_name_is_used_for_two_things() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for file in sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(file.relative_to(ROOT)))

    assert len(places) > 200
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
