"""A plan with two legs, and results on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ci.matrix.expectations import Expectation, Plan
from ci.matrix.results import Result, report_id
from session_affinity.legs import Leg

if TYPE_CHECKING:
    from collections.abc import Callable

OLD = Leg("1.36", "iptables", "embedded")
NEW = Leg("1.37", "nftables", "embedded")
TITLES = {"C10": "All requests of a client reach one endpoint", "C16": "Rules have the right arguments"}


@pytest.fixture
def plan() -> Plan:
    """Two legs: C10 is judged on both; C16, about iptables rules, is skipped on the nftables leg."""
    return Plan((Expectation(OLD, {"C10": 1, "C16": 1}, {}, TITLES), Expectation(NEW, {"C10": 1}, {"C16": 1}, TITLES)))


@pytest.fixture
def result() -> Callable[..., Result]:
    """Makes results; each starts later than the one before."""
    made: list[Result] = []

    def make(leg: Leg, claim: str, status: str = "passed", message: str = "") -> Result:
        made.append(Result(leg, claim, status, message, report_id(f"{len(made)}"), len(made)))
        return made[-1]

    return make


@pytest.fixture
def conforming(result: Callable[..., Result]) -> tuple[Result, ...]:
    """The results of the plan when every claim holds."""
    return (
        result(OLD, "C10"),
        result(OLD, "C16"),
        result(NEW, "C10"),
        result(NEW, "C16", "skipped", "kube-proxy runs in nftables mode"),
    )
