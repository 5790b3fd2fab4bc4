"""Legs, and results on them, that tests of the matrix are about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ci.matrix.expected import Expectation, Plan
from ci.matrix.legs import Leg
from ci.matrix.results import Result, report_id

if TYPE_CHECKING:
    from collections.abc import Callable

OLD = Leg("1.36", "iptables", "embedded")
NEW = Leg("1.37", "nftables", "embedded")


@pytest.fixture
def plan() -> Plan:
    """Two legs: C10 is judged on both, C16 is about rules that only the old one has."""
    return Plan((Expectation(OLD, {"C10": 1, "C16": 1}, {}), Expectation(NEW, {"C10": 1}, {"C16": 1})), whole=False)


@pytest.fixture
def result() -> Callable[..., Result]:
    """A result on a leg, numbered as they are made."""
    made: list[Result] = []

    def make(leg: Leg, claim: str, status: str = "passed", message: str = "") -> Result:
        made.append(Result(leg, claim, status, message, report_id(f"{len(made)}"), len(made)))
        return made[-1]

    return make


@pytest.fixture
def conforming(result: Callable[..., Result]) -> tuple[Result, ...]:
    """What comes of the plan where everything holds."""
    return (
        result(OLD, "C10"),
        result(OLD, "C16"),
        result(NEW, "C10"),
        result(NEW, "C16", "skipped", "kube-proxy runs in nftables mode"),
    )
