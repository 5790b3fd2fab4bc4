"""Markers, order, skips and output of a small suite of claims, run by pytest in this process."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["pytester"]

NAMES = (
    *("options", "claims", "selection", "listing", "facts", "evidence"),
    *("reporting", "summary", "results", "runfiles"),
)
PLUGINS = [word for name in NAMES for word in ("-p", f"fixtures.{name}")]
SUITE = """
import pytest
from session_affinity.errors import NotReadyError
from fixtures.claims import claim
from fixtures.evidence import Evidence

@pytest.fixture(scope="session")
def run_facts():
    "There is no cluster here."

@pytest.fixture
def expiry():
    return "waited"

@pytest.fixture
def broken():
    raise NotReadyError("no endpoints", next_step="look at the pods")

@claim("C24")
def test_expiry(expiry):
    assert expiry

@claim("C16")
@pytest.mark.dataplane("iptables")
def test_rules():
    ok, text = False, "C16 does not hold on myk8s-worker2: --seconds 3600\\n  expected: 30"
    assert ok, text

@claim("C10")
def test_sticky(request):
    Evidence(request.node.user_properties, None).key_number("100 of 100 from webpod2")

@claim("C09")
def test_broken_in_the_middle():
    raise NotReadyError("no endpoints any more")

@claim("C21")
def test_broken(broken):
    pass

def test_plain():
    pass
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Path:
    pytester.makeini("[pytest]\nmarkers =\n claim: x\n dataplane: x\n api: x\n kube_proxy: x\nstrict = true\n")
    return pytester.makepyfile(test_suite=SUITE)


def run(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess(*PLUGINS, "-p", "no:cacheprovider", *args)


def test_a_claim_has_its_line(pytester: pytest.Pytester, suite: Path) -> None:
    result = run(pytester, str(suite))

    result.stdout.re_match_lines_random(
        [
            r"passed  C10   A client's requests all reach one endpoint: 100 of 100 from webpod2  \d+\.\d s$",
            r"passed  C24   A silent client is free just after the timeout  \d+\.\d s$",
            r"failed  C16   Each rcheck rule has .*  \d+\.\d s$",
            r"error   C21   A client is in exactly one list, .*  \d+\.\d s$",
            r"error   C09   Without affinity requests spread .*  \d+\.\d s$",
        ]
    )
    result.assert_outcomes(passed=3, failed=1, errors=2)
    assert "\x1b" not in result.stdout.str()


def test_a_failure_begins_with_what_is_wrong(pytester: pytest.Pytester, suite: Path) -> None:
    result = run(pytester, str(suite), "-m", "C16")

    result.stdout.re_match_lines(
        [
            r"_+ test_rules _+",
            r"C16 does not hold on myk8s-worker2: --seconds 3600",
            r" +expected: 30",
            r"",
            r".*test_suite\.py:\d+: test_rules",
            r"FAILED test_suite\.py::test_rules - C16 does not hold on myk8s-.*",
        ],
        consecutive=False,
    )
    assert "assert False" not in result.stdout.str()


def test_a_failure_does_not_write_out_what_the_test_was_given(pytester: pytest.Pytester) -> None:
    """Observations of a run are large: their representation takes minutes, and is shown to no one."""
    pytester.makeini("[pytest]\nmarkers =\n claim: x\n dataplane: x\n api: x\n kube_proxy: x\nstrict = true\n")
    module = pytester.makepyfile(
        test_large="""
        import pytest
        from session_affinity.errors import NotReadyError
        from fixtures.claims import claim

        class Large:
            def __repr__(self):
                raise SystemExit("written out")

        @pytest.fixture(scope="session")
        def run_facts():
            pass

        @pytest.fixture
        def large():
            return Large()

        @pytest.fixture
        def broken(large):
            raise NotReadyError("no endpoints")

        @claim("C16")
        def test_fails(large):
            ok, text = False, "C16 does not hold"
            assert ok, text

        @claim("C21")
        def test_breaks(broken):
            pass
        """
    )

    result = run(pytester, str(module))

    result.assert_outcomes(failed=1, errors=1)
    assert "written out" not in result.stdout.str()


def test_what_could_not_be_told_is_no_failure_of_the_cluster(pytester: pytest.Pytester, suite: Path) -> None:
    result = run(pytester, str(suite), "-m", "C21")

    result.stdout.fnmatch_lines(["could not tell: NotReadyError: no endpoints", "*next: look at the pods"])
    result.assert_outcomes(errors=1, deselected=5)


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        pytest.param("C10", ["test_sticky"], id="id"),
        pytest.param("api", ["test_broken_in_the_middle", "test_sticky", "test_expiry"], id="promised-by-the-api"),
        pytest.param("kube_proxy", ["test_rules", "test_broken"], id="promised-by-kube-proxy"),
        pytest.param("claim(id='C16')", ["test_rules"], id="id-as-argument"),
    ],
)
def test_claims_are_selected(pytester: pytest.Pytester, suite: Path, expression: str, selected: list[str]) -> None:
    result = run(pytester, str(suite), "--collect-only", "-q", "-m", expression)

    assert [line.partition("::")[2] for line in result.outlines if "::" in line] == selected


def test_claims_are_listed_as_they_are_selected_and_nothing_runs(pytester: pytest.Pytester, suite: Path) -> None:
    result = run(pytester, str(suite), "--claims", "-m", "api")

    assert result.ret == pytest.ExitCode.OK
    table = itertools.takewhile(bool, itertools.dropwhile(lambda line: not line.startswith("id "), result.outlines))
    listed = [line.split()[0] for line in table]
    assert listed == ["id", "C09", "C10", "C24", "3"]


def test_tests_of_the_wait_come_last_and_the_others_as_in_the_catalogue(pytester: pytest.Pytester, suite: Path) -> None:
    result = run(pytester, str(suite), "--collect-only", "-q")

    names = [line.partition("::")[2] for line in result.outlines if "::" in line]
    assert names == [
        "test_broken_in_the_middle",
        "test_sticky",
        "test_rules",
        "test_broken",
        "test_expiry",
        "test_plain",
    ]


def test_claims_about_rules_are_skipped_in_another_mode(pytester: pytest.Pytester, suite: Path) -> None:
    result = run(pytester, str(suite), "--proxy-mode", "nftables", "-rs", "-m", "C16 or C10")

    result.assert_outcomes(passed=1, skipped=1, deselected=4)
    result.stdout.fnmatch_lines(
        ["*kube-proxy runs in nftables mode: claims about iptables rules cannot be judged here*"]
    )


@pytest.mark.parametrize("flag", ["-q", "-v"])
def test_other_verbosities_are_pytests_own(pytester: pytest.Pytester, suite: Path, flag: str) -> None:
    result = run(pytester, str(suite), flag, "-m", "C10")

    assert "passed  C10" not in result.stdout.str()
    expected = "*test_suite.py::test_sticky PASSED*" if flag == "-v" else ".*100%*"
    result.stdout.fnmatch_lines([expected])


def test_junit_has_the_claim_and_the_message(pytester: pytest.Pytester, suite: Path, tmp_path: Path) -> None:
    run(pytester, str(suite), f"--junit-xml={tmp_path / 'junit.xml'}")

    written = (tmp_path / "junit.xml").read_text()
    assert '<property name="claim" value="C16"' in written
    assert '<property name="key number" value="100 of 100 from webpod2"' in written
    assert "C16 does not hold on myk8s-worker2" in written


def test_a_traceback_is_there_for_who_asks(pytester: pytest.Pytester, suite: Path) -> None:
    result = run(pytester, str(suite), "--tb=long", "-m", "C16")

    result.stdout.fnmatch_lines([">*assert ok, text"])
