"""Packages that only some runs need: the extras of the distribution (pyproject.toml has their versions)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from session_affinity.about import DISTRIBUTION
from session_affinity.errors import UsageError

EMBEDDED: Final = "embedded"
KIND: Final = "kind"
ALLURE: Final = "allure"
WALK: Final = "walk"
MODULES: Final = {
    EMBEDDED: ("cryptography", "jinja2", "pyroute2"),
    KIND: ("pytest_kubernetes",),
    ALLURE: ("allure_pytest", "allure_commons"),
    WALK: ("hypothesis",),
}
"""The modules that the packages of each extra bring."""


def missing(extra: str) -> tuple[str, ...]:
    """Return the modules of an extra that are not installed; imports none of them."""
    return tuple(module for module in MODULES[extra] if find_spec(module) is None)


def require(extra: str, what: str) -> None:
    """Raise UsageError, with the command that installs it, when an extra is not installed; ``what`` needs it."""
    if lacking := missing(extra):
        raise UsageError(
            f"{what} needs Python packages that are not installed here ({', '.join(lacking)})",
            next_step=f"pip install '{DISTRIBUTION}[{extra}]'",
        )
