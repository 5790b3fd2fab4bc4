"""Where a run's time went, and whose it is."""

from __future__ import annotations

import pytest

from session_affinity.plugin import facts, run_files
from session_affinity.plugin.facts import RunFacts
from session_affinity.plugin.summary import told_times
from session_affinity.progress import quiet


def test_phases_are_told_with_the_whole() -> None:
    assert told_times({"API server": 3.71, "nodes": 1.26}, 45.04) == "API server 3.7 s, nodes 1.3 s, whole run 45.0 s"


def test_the_steps_of_a_start_stand_for_the_cluster_fixture() -> None:
    known = RunFacts(seconds={"cluster": 6.0, "sample pods": 1.5, "api": 0.001})
    assert known.phases() == {"cluster": 6.0, "sample pods": 1.5}

    known.progress = quiet()
    known.progress._timings.append(("API server", 4.0))
    assert known.phases() == {"API server": 4.0, "sample pods": 1.5}


@pytest.mark.parametrize(
    ("name", "key"),
    [("proxy mode", "proxy_mode"), ("image docker.io/x:latest", "image_docker.io/x_latest")],
)
def test_names_are_keys_that_java_reads_whole(name: str, key: str) -> None:
    assert run_files.key(name) == key


pytest_plugins = ["pytester"]


class Clock:
    """In place of the module ``time``: it goes on only when it is told to."""

    now = 0.0

    @classmethod
    def monotonic(cls) -> float:
        return cls.now


def test_what_is_shared_is_not_charged_to_the_test_that_asks_first(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session fixture asked for within another counts once, for itself."""
    monkeypatch.setattr(facts, "time", Clock)
    pytester.makeconftest(
        """
        import pytest
        from fixtures import facts
        from fixtures.facts import RUN_FACTS, SHARED_SECONDS

        @pytest.fixture(scope="session")
        def inner():
            facts.time.now += 2

        @pytest.fixture(scope="session")
        def outer(inner):
            facts.time.now += 1

        @pytest.fixture
        def seen(request, outer):
            return {**request.config.stash[RUN_FACTS].seconds, "shared": request.node.stash[SHARED_SECONDS]}
        """
    )
    pytester.makepyfile(
        """
        def test_it(seen):
            assert (seen["inner"], seen["outer"], seen["shared"]) == (2, 1, 3)
        """
    )

    done = pytester.runpytest_inprocess(
        "-p", "session_affinity.plugin.claims", "-p", "session_affinity.plugin.facts", "-p", "no:cacheprovider"
    )

    done.assert_outcomes(passed=1)
