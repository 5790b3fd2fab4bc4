"""Every defect with the cluster that it needs; the tests of one cluster run together, so that it starts once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ci.claims_page import collect_claims
from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.state import STATE_VARIABLE
from tests.defects import defective_cluster
from tests.defects.behaviour_table import BehaviourTable
from tests.defects.catalogue import DEFECTS
from tests.defects.defective_cluster import RUN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.defects.defect import Shape
    from tests.defects.defective_cluster import DefectiveCluster


HEAL_SECONDS = 120
"""The time that a cluster may take to become healthy again, on a machine that is not slow."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that checks what behaviour alone notices."""
    parser.addoption(
        "--behaviour",
        action="store_true",
        help="inject defects and check behaviour alone, for the table in docs/claims.md",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Select the tests of defects, or with --behaviour those of what behaviour alone notices."""
    behaviour = config.getoption("--behaviour")
    selected = [item for item in items if bool(item.get_closest_marker("behaviour")) == behaviour]
    config.hook.pytest_deselected(items=[item for item in items if item not in selected])
    items[:] = selected
    for item in selected:
        item.add_marker(pytest.mark.timeout((RUN_SECONDS + HEAL_SECONDS) * config.getoption("--deadline-scale")))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize a test with every defect and its cluster."""
    if "defect" in metafunc.fixturenames:
        marks = {True: [pytest.mark.fast], False: []}
        rows = [pytest.param(defect, defect.shape, id=defect.name, marks=marks[defect.fast]) for defect in DEFECTS]
        metafunc.parametrize(("defect", "defective"), rows, indirect=["defective"], scope="session")


@pytest.fixture(scope="session")
def claims() -> dict[str, dict[str, Any]]:
    """Every claim of the suite by id, as ``pytest --claims --claims-format json`` lists it."""
    return {claim["id"]: claim for claim in collect_claims()}


@pytest.fixture(scope="session")
def behaviour_table() -> BehaviourTable:
    """The table of what behaviour alone notices."""
    return BehaviourTable(DEFECTS)


@pytest.fixture(scope="session")
def defective(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, deadline_scale: float
) -> Iterator[DefectiveCluster]:
    """The cluster of a shape, healthy and with its sample pods; a test that injects a defect removes it again."""
    shape: Shape = request.param
    directory = tmp_path_factory.mktemp("defective")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(directory / "state"))
        try:
            cluster = defective_cluster.start(shape, directory, deadline_scale=deadline_scale)
            run = cluster.check(["C10"])
            assert not run.failed + run.undetermined, run.output
            yield cluster
        finally:
            clusters.down(defective_cluster.NAME)
