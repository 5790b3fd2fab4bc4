"""Fixtures of the suite: pytest lets one of the same name hide another without a word."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

FIXTURES = Path(__file__).parents[2] / "fixtures"


def fixtures_of(module: Path) -> list[str]:
    functions = [node for node in ast.parse(module.read_text()).body if isinstance(node, ast.FunctionDef)]
    return [node.name for node in functions if any("pytest.fixture" in ast.unparse(d) for d in node.decorator_list)]


def test_no_two_fixtures_have_one_name() -> None:
    places = defaultdict(list)
    for module in sorted(FIXTURES.glob("*.py")):
        for name in fixtures_of(module):
            places[name].append(module.name)

    assert len(places) > 20
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}
