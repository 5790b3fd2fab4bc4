"""Every defect with the cluster it needs: one after the other, each started once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims.told import read_suite
from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.state import STATE_VARIABLE
from tests.defects import sick as sick_clusters
from tests.defects.catalogue import DEFECTS
from tests.defects.comfort import Comfort
from tests.defects.sick import RUN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.defects.defect import Shape
    from tests.defects.sick import SickCluster


HEAL_SECONDS = 120


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that asks what behaviour alone would have noticed."""
    parser.addoption(
        "--behaviour",
        action="store_true",
        help="inject defects and check behaviour alone, for the table in docs/claims.md",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what was asked for: the claims about each defect, or what behaviour alone makes of it."""
    asked = config.getoption("--behaviour")
    kept = [item for item in items if bool(item.get_closest_marker("behaviour")) == asked]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
    for item in kept:
        item.add_marker(pytest.mark.timeout((RUN_SECONDS + HEAL_SECONDS) * config.getoption("--deadline-scale")))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each defect."""
    if "defect" in metafunc.fixturenames:
        marks = {True: [pytest.mark.fast], False: []}
        rows = [pytest.param(one, one.shape, id=one.name, marks=marks[one.fast]) for one in DEFECTS]
        metafunc.parametrize(("defect", "sick"), rows, indirect=["sick"], scope="session")


@pytest.fixture(scope="session")
def about() -> dict[str, tuple[str, ...]]:
    """The subjects of each claim."""
    return {told.claim: told.subjects for told in read_suite()}


@pytest.fixture(scope="session")
def comfort() -> Comfort:
    """Where it is kept what behaviour alone notices."""
    return Comfort(DEFECTS)


@pytest.fixture(scope="session")
def sick(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, deadline_scale: float
) -> Iterator[SickCluster]:
    """The cluster of a shape, healthy and with its sample pods: whoever makes it sick heals it."""
    shape: Shape = request.param
    directory = tmp_path_factory.mktemp("sick")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(directory / "state"))
        try:
            started = sick_clusters.start(shape, directory, deadline_scale=deadline_scale)
            judged = started.judge(["C10"])
            assert not judged.failed + judged.broken, judged.said
            yield started
        finally:
            clusters.down(sick_clusters.NAME)
