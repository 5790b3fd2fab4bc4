"""Every setting of kube-proxy with each mode of its cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ci.claims_page import collect_claims
from session_affinity.clusters.embedded.state import STATE_VARIABLE
from tests.settings.cluster import RUN_SECONDS, SetUp, older_kube_proxy, start, stop
from tests.settings.settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize a test with every setting, in each mode."""
    if "set_up" in metafunc.fixturenames:
        rows = [
            pytest.param((setting, mode), id=f"{setting.name}-{mode}", marks=[pytest.mark.fast] if setting.fast else [])
            for setting in SETTINGS
            for mode in setting.modes
        ]
        metafunc.parametrize("set_up", rows, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give each test the time of a run."""
    for item in items:
        item.add_marker(pytest.mark.timeout(RUN_SECONDS * config.getoption("--deadline-scale")))


@pytest.fixture(scope="session")
def claims() -> dict[str, dict[str, Any]]:
    """Every claim of the suite by id, as ``pytest --claims --claims-format json`` lists it."""
    return {claim["id"]: claim for claim in collect_claims()}


@pytest.fixture
def set_up(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, deadline_scale: float
) -> Iterator[SetUp]:
    """A cluster with a setting, kept for the time of the test."""
    setting, mode = request.param
    if setting.older and older_kube_proxy() is None:
        pytest.skip("no older release is in the cache: session-affinity cluster build --kubernetes 1.36")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(tmp_path_factory.mktemp("settings")))
        try:
            yield start(setting, mode, tmp_path_factory.mktemp("results"), deadline_scale=deadline_scale)
        finally:
            stop()
