"""The terminal output of a small suite of claims: lines, failures, lists, order and skips."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.component.plugin.conftest import run

if TYPE_CHECKING:
    from collections.abc import Callable

    RunSuite = Callable[..., pytest.RunResult]

pytest_plugins = ["pytester"]

SUITE = """
@pytest.fixture
def unready():
    raise NotReadyError("no endpoints", next_step="look at the pods")

@claimed("C24", "An entry expires after the timeout", "expiry")
def test_expiry():
    pass

@claimed("C16", "Each rcheck rule has the right arguments", "rules", KUBE_PROXY, modes=IPTABLES)
def test_rules(check):
    check(VIOLATED)

@claimed("C09", "Without affinity requests spread", "distribution")
def test_broken_in_the_middle():
    raise NotReadyError("no endpoints any more")

@claimed("C10", "A client's requests all reach one endpoint", "distribution")
def test_sticky(check):
    check(HOLDS)

@claimed("C21", "A client is in exactly one list", "lists", KUBE_PROXY)
def test_broken(unready):
    pass

def test_plain():
    pass
"""


@pytest.fixture
def run_suite(pytester: pytest.Pytester) -> RunSuite:
    return lambda *args: run(pytester, SUITE, *args)


def selected(result: pytest.RunResult) -> list[str]:
    return [line.partition("::")[2] for line in result.outlines if "::" in line]


def test_each_claim_has_a_line(run_suite: RunSuite) -> None:
    result = run_suite()

    result.stdout.re_match_lines_random(
        [
            r"passed  C10   A client's requests all reach one endpoint: 100 of 100 from webpod2  \d+\.\d s$",
            r"passed  C24   An entry expires after the timeout  \d+\.\d s$",
            r"failed  C16   Each rcheck rule has the right arguments: rule 2: .*  \d+\.\d s$",
            r"error   C21   A client is in exactly one list  \d+\.\d s$",
            r"error   C09   Without affinity requests spread  \d+\.\d s$",
        ]
    )
    result.assert_outcomes(passed=3, failed=1, errors=2)
    assert "\x1b" not in result.stdout.str()


def test_a_failure_begins_with_the_cause_and_has_no_code(run_suite: RunSuite) -> None:
    result = run_suite("-m", "C16")

    result.stdout.re_match_lines(
        [
            r"_+ test_rules _+",
            r"C16 does not hold on myk8s-worker2: rule 2: --seconds 3600, expected 10800",
            r" +expected: 10800",
            r"",
            r".*test_suite\.py:\d+: test_rules",
            r"FAILED .*test_suite\.py::test_rules - C16 does not hold on myk8s-.*",
        ],
        consecutive=False,
    )
    assert "raise AssertionError" not in result.stdout.str()


def test_a_failure_does_not_print_the_arguments_of_the_test(pytester: pytest.Pytester) -> None:
    """Observations of a run are large: formatting them takes minutes."""
    result = run(
        pytester,
        """
        class Large:
            def __repr__(self):
                raise SystemExit("formatted")

        @pytest.fixture
        def large():
            return Large()

        @pytest.fixture
        def unready(large):
            raise NotReadyError("no endpoints")

        @claimed("C16", "Rules", "rules", KUBE_PROXY)
        def test_fails(large, check):
            check(VIOLATED)

        @claimed("C21", "Lists", "lists", KUBE_PROXY)
        def test_breaks(unready):
            pass
        """,
    )

    result.assert_outcomes(failed=1, errors=1)
    assert "formatted" not in result.stdout.str()


def test_a_claim_that_could_not_be_tested_is_an_error_with_a_next_step(run_suite: RunSuite) -> None:
    result = run_suite("-m", "C21")

    result.stdout.fnmatch_lines(["could not be tested: NotReadyError: no endpoints", "*next: look at the pods"])
    result.assert_outcomes(errors=1, deselected=5)


@pytest.mark.parametrize(
    ("expression", "tests"),
    [
        pytest.param("C10", ["test_sticky"], id="id"),
        pytest.param("api", ["test_broken_in_the_middle", "test_sticky", "test_expiry"], id="promised-by-the-api"),
        pytest.param("kube_proxy", ["test_rules", "test_broken"], id="promised-by-kube-proxy"),
        pytest.param("lists", ["test_broken"], id="subject"),
    ],
)
def test_claims_are_selected_by_marker(run_suite: RunSuite, expression: str, tests: list[str]) -> None:
    assert selected(run_suite("--collect-only", "-q", "-m", expression)) == tests


def test_claims_lists_the_selected_claims_and_runs_nothing(run_suite: RunSuite) -> None:
    result = run_suite("--claims", "-m", "api")

    assert result.ret == pytest.ExitCode.OK
    table = itertools.takewhile(bool, itertools.dropwhile(lambda line: not line.startswith("id "), result.outlines))
    assert [line.split()[0] for line in table] == ["id", "C09", "C10", "C24", "3"]


def test_claims_of_the_shared_wait_come_last_and_others_in_order_of_the_catalogue(run_suite: RunSuite) -> None:
    assert selected(run_suite("--collect-only", "-q")) == [
        "test_broken_in_the_middle",
        "test_sticky",
        "test_rules",
        "test_broken",
        "test_expiry",
        "test_plain",
    ]


def test_claims_about_iptables_rules_are_skipped_in_nftables_mode(run_suite: RunSuite) -> None:
    result = run_suite("--proxy-mode", "nftables", "-rs", "-m", "C16 or C10")

    result.assert_outcomes(passed=1, skipped=1, deselected=4)
    result.stdout.fnmatch_lines(
        ["*kube-proxy runs in nftables mode: claims about iptables rules cannot be judged here*"]
    )


@pytest.mark.parametrize(("flag", "line"), [("-q", ".*100%*"), ("-v", "*test_suite.py::test_sticky PASSED*")])
def test_with_q_and_v_the_output_is_that_of_pytest(run_suite: RunSuite, flag: str, line: str) -> None:
    result = run_suite(flag, "-m", "C10")

    assert "passed  C10" not in result.stdout.str()
    result.stdout.fnmatch_lines([line])


def test_tb_long_prints_the_traceback(run_suite: RunSuite) -> None:
    run_suite("--tb=long", "-m", "C16").stdout.fnmatch_lines([">*check(VIOLATED)"])


def test_the_options_are_grouped_and_have_their_defaults(pytester: pytest.Pytester) -> None:
    text = run(pytester, "", "--help").stdout.str()

    groups = [line for line in text.splitlines() if line.startswith("session affinity: ")]
    assert groups == [
        "session affinity: a cluster that already runs:",
        "session affinity: the cluster that a run starts:",
        "session affinity: the claims that are judged:",
        "session affinity: lists and reports:",
        "session affinity: the conformance report and the exit code:",
    ]
    assert "Default: iptables." in text
