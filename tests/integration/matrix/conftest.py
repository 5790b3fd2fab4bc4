"""The plan of a matrix, and its results as allure-pytest writes them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ci.matrix.expectations import Expectation, Plan, expectation_of
from session_affinity.legs import Leg

if TYPE_CHECKING:
    from pathlib import Path

TITLES = {"C02": "sessionAffinity defaults to None", "C10": "one endpoint", "C16": "iptables rules"}
IPTABLES_CLAIM = "C16"
LEGS = (
    *(Leg(minor, mode, "embedded") for minor in ("1.36", "1.37") for mode in ("iptables", "nftables")),
    Leg("1.37", "iptables", "embedded", "dual"),
)

Writer = Callable[..., None]


def expectation(leg: Leg) -> Expectation:
    nftables = leg.proxy_mode == "nftables"
    return expectation_of(leg, [(claim, nftables and claim == IPTABLES_CLAIM, TITLES[claim]) for claim in TITLES])


@pytest.fixture
def plan() -> Plan:
    """Three claims on five legs, one of them dual-stack; one claim is skipped on the two nftables legs."""
    return Plan(tuple(expectation(leg) for leg in LEGS))


@pytest.fixture
def write_results(tmp_path: Path) -> Writer:
    """Writes the results of legs below ``results``; some claims may fail."""

    def write(legs: tuple[Leg, ...] = LEGS, failed: tuple[tuple[Leg, str], ...] = (), *, at: int = 1) -> None:
        for leg in legs:
            directory = tmp_path / "results" / leg.id / "allure-results"
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "environment.properties").write_text(
                f"Kubernetes = v{leg.kubernetes}.1\nkernel = 6.18\nseconds_nodes = 2.5\n"
            )
            for claim in TITLES:
                result = _result(leg, claim, "failed" if (leg, claim) in failed else "passed", at * 1_000_000)
                (directory / f"{uuid.uuid4()}-result.json").write_text(json.dumps(result))

    return write


def _result(leg: Leg, claim: str, status: str, start: int) -> dict[str, object]:
    skipped = claim in expectation(leg).skipped
    labels = {
        "epic": "Session affinity",
        "feature": "rules",
        "story": TITLES[claim],
        "claim": claim,
        **leg.labels,
    }
    return {
        "uuid": str(uuid.uuid4()),
        "name": f"{claim} {TITLES[claim]}",
        "fullName": f"suite#{claim}",
        "historyId": f"{claim} {leg.id}",
        "testCaseId": claim,
        "status": "skipped" if skipped else status,
        "statusDetails": {"message": f"{claim} does not hold on a node"} if status == "failed" else {},
        "start": start,
        "stop": start + 1000,
        "labels": [{"name": name, "value": value} for name, value in labels.items()],
        "parameters": [{"name": name, "value": repr(value)} for name, value in leg.parameters.items()],
    }
