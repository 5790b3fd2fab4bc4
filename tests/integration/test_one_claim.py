"""``pytest -m C16``: whatever a claim looks at is there when the claim is selected alone."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ci.claims_page import collect_claims
from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.state import STATE_VARIABLE
from session_affinity.conformance.exit_codes import ExitCode
from tests.integration.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "one-claim"
QUICK = ("C31", "C35")
"""Claims about what more than one scenario in the background makes."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize with every claim; all but a few are tried by ``make integration`` only."""
    if "claim" in metafunc.fixturenames:
        ids = [claim["id"] for claim in collect_claims()]
        marks = {name: () if name in QUICK else (pytest.mark.long,) for name in ids}
        metafunc.parametrize("claim", [pytest.param(name, marks=marks[name]) for name in ids])


@pytest.fixture(scope="module", params=["iptables", "nftables"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """The options of a kept cluster, dual-stack, in a proxy mode."""
    state: Path = tmp_path_factory.mktemp("one-claim") / "state"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(state))
        options = ("--cluster-name", NAME, "--proxy-mode", request.param, "--ip-family", "dual", "--keep-cluster")
        try:
            yield options
        finally:
            clusters.down(NAME)


def test_a_claim_that_is_selected_alone_is_judged(claim: str, kept: tuple[str, ...]) -> None:
    """It holds, or is skipped by a rule."""
    argv = (sys.executable, "-m", "pytest", "-c", ROOT / "pytest.toml", "-m", claim, "--cluster", "embedded", *kept)

    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)

    assert run.returncode in (ExitCode.HOLDS, ExitCode.NOTHING_JUDGED), run.stdout
