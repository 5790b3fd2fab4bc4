"""Results of a matrix, written as allure-pytest writes them, for what reads them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ci.matrix.expected import Expectation, Plan, counted
from ci.matrix.legs import Leg
from session_affinity.claims import CATALOGUE

if TYPE_CHECKING:
    from pathlib import Path

CLAIMS = ("C02", "C10", "C16")
LEGS = tuple(Leg(minor, mode, "embedded") for minor in ("1.36", "1.37") for mode in ("iptables", "nftables"))

Writer = Callable[..., None]


def expectation(leg: Leg) -> Expectation:
    dataplanes = {claim: CATALOGUE[claim].dataplanes for claim in CLAIMS}
    return counted(leg, [(claim, bool(only) and leg.proxy_mode not in only) for claim, only in dataplanes.items()])


@pytest.fixture
def plan() -> Plan:
    """Three claims on four legs."""
    return Plan(tuple(expectation(leg) for leg in LEGS), whole=False)


@pytest.fixture
def ran(tmp_path: Path) -> Writer:
    """Write the results of a run of legs below ``results``; some claims may fail."""

    def write(legs: tuple[Leg, ...] = LEGS, failed: tuple[tuple[Leg, str], ...] = (), *, at: int = 1) -> None:
        for leg in legs:
            directory = tmp_path / "results" / leg.id / "allure-results"
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "environment.properties").write_text(
                f"Kubernetes = v{leg.kubernetes}.1\nkernel = 6.18\nseconds_nodes = 2.5\n"
            )
            for claim in CLAIMS:
                result = _result(leg, claim, "failed" if (leg, claim) in failed else "passed", at * 1_000_000)
                (directory / f"{uuid.uuid4()}-result.json").write_text(json.dumps(result))

    return write


def _result(leg: Leg, claim: str, status: str, start: int) -> dict[str, object]:
    skipped = claim in expectation(leg).skipped
    labels = {
        "epic": "Session affinity",
        "feature": "rules",
        "story": CATALOGUE[claim].title,
        "claim": claim,
        "k8s": leg.kubernetes,
        "proxy": leg.proxy_mode,
        "provider": leg.provider,
    }
    parameters = {"kubernetes": leg.kubernetes, "proxy mode": leg.proxy_mode, "provider": leg.provider}
    return {
        "uuid": str(uuid.uuid4()),
        "name": f"{claim} {CATALOGUE[claim].title}",
        "fullName": f"suite#{claim}",
        "historyId": f"{claim} {leg.id}",
        "testCaseId": claim,
        "status": "skipped" if skipped else status,
        "statusDetails": {"message": f"{claim} does not hold on a node"} if status == "failed" else {},
        "start": start,
        "stop": start + 1000,
        "labels": [{"name": name, "value": value} for name, value in labels.items()],
        "parameters": [{"name": name, "value": repr(value)} for name, value in parameters.items()],
    }
