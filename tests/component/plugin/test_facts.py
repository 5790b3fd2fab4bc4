"""The facts of a run, and the seconds of its phases."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from session_affinity.plugin import phases, run_files
from session_affinity.plugin.facts import RunFacts
from session_affinity.plugin.phases import CLUSTER_START, OTHER, PHASES, SetupTimes
from session_affinity.plugin.summary import time_line
from session_affinity.progress import quiet

pytest_plugins = ["pytester"]
FIXTURES = Path(__file__).parents[3] / "fixtures"


def test_the_line_has_every_phase_and_the_steps_of_the_start() -> None:
    line = time_line({CLUSTER_START: 5.0, "sample pods": 1.26}, (("API server", 3.71), ("machine", 0.01)), 45.04)

    assert line == "cluster start 5.0 s (API server 3.7 s), sample pods 1.3 s, whole run 45.0 s"


def test_fixtures_without_a_name_are_summed_up() -> None:
    times = SetupTimes({"cluster": 6.0, "sample_pods": 1.5, "run_facts": 0.25, "kube_proxies": 0.25, "api": 0.001})

    assert list(times.phases()) == ["cluster start", "sample pods", OTHER]
    assert times.phases()[OTHER] == pytest.approx(0.501)


def test_short_phases_are_not_shown() -> None:
    assert SetupTimes({"client": 0.01, "api": 0.01}).phases() == {}


def test_steps_after_the_start_of_the_cluster_are_phases() -> None:
    progress = quiet()
    run = RunFacts(progress=progress, cluster_steps=(("API server", 4.0),), times=SetupTimes({"cluster": 6.0}))
    progress._timings += [("API server", 4.0), ("waiting for timeouts to run out", 12.0)]

    assert run.phases() == {"cluster start": 6.0, "waiting for timeouts to run out": 12.0}


def test_every_named_phase_is_a_shared_fixture() -> None:
    trees = [ast.parse(module.read_text()) for module in FIXTURES.glob("*.py")]
    functions = [node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)]
    shared = {node.name for node in functions if any("scope=" in ast.unparse(mark) for mark in node.decorator_list)}

    assert not PHASES.keys() - shared


@pytest.mark.parametrize(
    ("name", "key"),
    [("proxy mode", "proxy_mode"), ("image docker.io/x:latest", "image_docker.io/x_latest")],
)
def test_names_are_keys_that_java_reads_whole(name: str, key: str) -> None:
    assert run_files.key(name) == key


class Clock:
    """Stands in for the module ``time``; it advances only when a test sets it."""

    now = 0.0

    @classmethod
    def monotonic(cls) -> float:
        return cls.now


def test_shared_fixtures_are_not_counted_for_the_first_test_that_requests_them(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session fixture that another one requests counts once, for itself."""
    monkeypatch.setattr(phases, "time", Clock)
    pytester.makeconftest(
        """
        import pytest
        from session_affinity.plugin import phases
        from session_affinity.plugin.facts import RUN_FACTS, SHARED_SECONDS

        @pytest.fixture(scope="session")
        def inner():
            phases.time.now += 2

        @pytest.fixture(scope="session")
        def outer(inner):
            phases.time.now += 1
        """
    )
    pytester.makepyfile(
        """
        from conftest import RUN_FACTS, SHARED_SECONDS

        def test_it(request, outer):
            seconds = request.config.stash[RUN_FACTS].times.seconds
            assert (seconds["inner"], seconds["outer"], request.node.stash[SHARED_SECONDS]) == (2, 1, 3)

        def test_next(request, outer):
            assert request.node.stash[SHARED_SECONDS] == 0
        """
    )

    done = pytester.runpytest_inprocess("-p", "session_affinity.plugin.facts", "-p", "no:cacheprovider")

    done.assert_outcomes(passed=2)
