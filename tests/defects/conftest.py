"""Every defect with the cluster it needs: one after the other, each started once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from affinity.clusters.embedded import cluster as clusters
from affinity.clusters.embedded.state import STATE_VARIABLE
from tests.defects import sick as sick_clusters
from tests.defects.catalogue import DEFECTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.defects.defect import Shape
    from tests.defects.sick import SickCluster


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each defect."""
    if "defect" in metafunc.fixturenames:
        marks = {True: [pytest.mark.fast], False: []}
        rows = [pytest.param(one, one.shape, id=one.name, marks=marks[one.fast]) for one in DEFECTS]
        metafunc.parametrize(("defect", "sick"), rows, indirect=["sick"], scope="session")


@pytest.fixture(scope="session")
def sick(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, slowness: float
) -> Iterator[SickCluster]:
    """The cluster of a shape, healthy: whoever makes it sick heals it."""
    shape: Shape = request.param
    directory = tmp_path_factory.mktemp("sick")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(directory / "state"))
        try:
            yield sick_clusters.start(shape, directory, slowness=slowness)
        finally:
            clusters.down(sick_clusters.NAME)
