"""A dataplane that differs from kube-proxy, in every output: terminal, summary, JUnit, Allure, report, exit code.

The run with Allure is in a process of its own, because allure-pytest keeps state in its module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from session_affinity.conformance import overview, report
from tests.component.plugin.conftest import allure_results, run_apart
from tests.component.plugin.conftest import run as run_suite

pytest_plugins = ["pytester"]

CLUSTER = ("-p", "fixtures.cluster", "-p", "session_affinity.plugin.conformance")
FOREIGN = """
from session_affinity.dataplane.proxy_config import ProxyConfig, ProxyConfigs
from session_affinity.dataplane.recognition import ServiceProgram, Recognition, Serves
from session_affinity.plugin.facts import RUN_FACTS
from session_affinity.plugin.selection import kube_proxy_serves, learn, why_not_bound

@pytest.fixture(scope="session", autouse=True)
def run_facts(pytestconfig):
    names = ("cluster", "Kubernetes", "kernel", "suite")
    facts = {**dict.fromkeys(names, "?"), "nodes": "4", "provider": "external"}
    pytestconfig.stash[RUN_FACTS].facts |= facts

@pytest.fixture(scope="session")
def proxy_configs(pytestconfig):
    configs = ProxyConfigs(default=ProxyConfig(MODE, None))
    programs = (ServiceProgram("Cilium", "v1.20.2", Serves.ALL, "DaemonSet kube-system/cilium"),) if OTHER else ()
    recognition = pytestconfig.stash[RUN_FACTS].recognition = Recognition(programs)
    pytestconfig.stash[RUN_FACTS].facts |= recognition.facts()
    not_bound, serves = why_not_bound(configs, recognition), kube_proxy_serves(configs, recognition)
    learn(pytestconfig, proxy_mode=configs.mode, not_bound=not_bound, kube_proxy_serves=serves, releases=((1, 37),))

@pytest.fixture
def broken_after():
    yield
    assert False, "an assertion in a fixture"
"""
DIFFERS = """
@claimed("C02", "A violated promise of kube-proxy", promised_by=KUBE_PROXY)
def test_differs(check):
    check(VIOLATED)
"""
KNOWN = """
from session_affinity.claims import KnownBehaviour

IPVS = KnownBehaviour("keeps entries", "https://example.org/1", modes=("ipvs",))

@claimed("C09", "A violated promise of the API", known=(IPVS,))
def test_known(check):
    check(VIOLATED)
"""
HOLDS = """
@claimed("C03", "A promise of kube-proxy that holds", promised_by=KUBE_PROXY)
def test_holds(check):
    check(HOLDS)
"""
SKIPPED = """
@claimed("C05", "A skipped claim")
def test_skipped():
    pytest.skip("the cluster accepts no Service with externalIPs")
"""
FAILED = """
@claimed("C01", "A violated promise of the API")
def test_failed(check):
    check(VIOLATED)
"""
ERROR = """
@claimed("C04", "An error of the cluster", promised_by=KUBE_PROXY)
def test_error():
    raise ClusterError("GET /api/v1/pods: no answer from the API: refused")
"""
ERROR_AFTER = """
@claimed("C06", "A promise of kube-proxy that holds, and a broken clean-up", promised_by=KUBE_PROXY)
def test_error_after(broken_after, check):
    check(HOLDS)

@claimed("C07", "A violated promise of kube-proxy, and a broken clean-up", promised_by=KUBE_PROXY)
def test_differs_and_error_after(broken_after, check):
    check(VIOLATED)
"""
ALL = FAILED + DIFFERS + HOLDS + ERROR + SKIPPED + ERROR_AFTER


@dataclass(frozen=True)
class Run:
    """What a run returned and wrote."""

    code: int
    output: str
    junit: ET.Element
    allure: dict[str, dict[str, Any]]
    report: dict[str, Any]

    def lines(self) -> dict[str, list[str]]:
        """Return the outcomes in the lines of each claim, before the summary."""
        return outcomes_in(self.output.partition(" summary =")[0])

    def summary(self) -> dict[str, list[str]]:
        """Return the outcome of each claim in the summary."""
        return outcomes_in(self.output.partition(" summary =")[2])


def outcomes_in(text: str) -> dict[str, list[str]]:
    """Return the outcomes of each claim in lines that begin with outcome and id."""
    found: dict[str, list[str]] = {}
    for line in re.finditer(r"^(\w+) +(C\d\d)[ :]", text, re.MULTILINE):
        found.setdefault(line[2], []).append(line[1])
    return found


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a claim of every outcome."""
    directory = tmp_path_factory.mktemp("foreign")
    done = run_apart(directory, on_cluster("none", ALL), *CLUSTER, "-ra", "--report=report.yaml")
    by_claim = allure_results(directory / "results")
    junit = ET.fromstring((directory / "junit.xml").read_text())
    written = report.read(directory / "report.yaml")
    return Run(done.returncode, done.stdout + done.stderr, junit, by_claim, written)


def on_cluster(mode: str, text: str) -> str:
    """Return claims on a cluster whose kube-proxy has a mode, with ``+`` beside another program that replaces it."""
    return FOREIGN.replace("MODE", repr(mode.strip("+"))).replace("OTHER", str("+" in mode)) + text


@dataclass(frozen=True)
class Outcome:
    """What a run without Allure returned, printed and reported."""

    code: int
    output: str
    report: dict[str, Any]

    @property
    def results(self) -> dict[str, str]:
        """The results of the report by claim."""
        return {claim["id"]: claim["result"] for claim in self.report["claims"]}


def run(pytester: pytest.Pytester, text: str, mode: str = "none", *options: str) -> Outcome:
    """Run claims in this process on a cluster whose kube-proxy has this mode."""
    plugins = ("-p", "allure_pytest.plugin", *CLUSTER)
    done = run_suite(pytester, on_cluster(mode, text), *plugins, "-ra", "--report=report.yaml", *options)
    written = report.read(pytester.path / "report.yaml")
    return Outcome(int(done.ret), done.stdout.str() + done.stderr.str(), written)


def test_the_run_comes_to_its_end(everything: Run) -> None:
    """pytest folds what counts as skipped by a location, which a claim that differs does not have."""
    assert "Traceback" not in everything.output
    assert "1 failed, 1 skipped, 2 xfailed, 2 xpassed, 3 errors in " in everything.output


def test_the_terminal_has_a_line_for_each_outcome(everything: Run) -> None:
    assert everything.lines() == {
        "C01": ["failed"],
        "C02": ["differs"],
        "C03": ["passed"],
        "C04": ["error"],
        "C05": ["skipped"],
        "C06": ["passed", "error"],
        "C07": ["differs", "error"],
    }


def test_the_summary_has_the_worst_outcome_of_each_claim(everything: Run) -> None:
    assert everything.summary() == {
        "C01": ["failed"],
        "C02": ["differs"],
        "C03": ["passed"],
        "C04": ["error"],
        "C05": ["skipped"],
        "C06": ["error"],
        "C07": ["error"],
    }
    assert "suite: ?, 1 failed, 3 error, 1 passed, 1 differs, 1 skipped;" in everything.output
    assert "no document specifies this behaviour of kube-proxy, and there is no kube-proxy here" in everything.output


def test_the_report_says_the_same(everything: Run) -> None:
    assert report.problems(everything.report) == ()
    assert {claim["id"]: claim["result"] for claim in everything.report["claims"]} == {
        "C01": "failed",
        "C02": "differs",
        "C03": "passed",
        "C04": "undetermined",
        "C05": "skipped",
        "C06": "undetermined",
        "C07": "undetermined",
    }
    (differs,) = (claim for claim in everything.report["claims"] if claim["result"] == "differs")
    assert differs["headline"] == "rule 2: --seconds 3600, expected 10800"
    assert "there is no kube-proxy here" in differs["message"]


def test_junit_skips_what_differs_with_the_reason(everything: Run) -> None:
    tags: dict[str, set[str]] = {}
    for case in everything.junit.iter("testcase"):
        claim = str(case.find(".//property[@name='claim']").get("value"))
        tags.setdefault(claim, set()).update(element.tag for element in case if element.tag != "properties")

    assert tags == {
        "C01": {"failure"},
        "C02": {"skipped"},
        "C03": set(),
        "C04": {"error"},
        "C05": {"skipped"},
        "C06": {"error"},
        "C07": {"skipped", "error"},
    }
    reasons = [str(element.get("message")) for element in everything.junit.iter("skipped")]
    assert sum("there is no kube-proxy here" in reason for reason in reasons) == 2


def test_allure_skips_what_differs_and_shows_what_it_was(everything: Run) -> None:
    assert {claim: result["status"] for claim, result in everything.allure.items()} == {
        "C01": "failed",
        "C02": "skipped",
        "C03": "passed",
        "C04": "broken",
        "C05": "skipped",
        "C06": "broken",
        "C07": "broken",
    }
    of_suite = {
        claim: [entry["value"] for entry in result["parameters"] if entry["name"] == "differs"]
        for claim, result in everything.allure.items()
    }
    assert {claim: len(reasons) for claim, reasons in of_suite.items() if reasons} == {"C02": 1, "C07": 1}
    message = everything.allure["C02"]["statusDetails"]["message"]
    assert message.startswith("differs, which is not a failure here: no document specifies this behaviour")
    assert "C02 does not hold on myk8s-worker2" in message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(DIFFERS, 0, id="differs"),
        pytest.param(DIFFERS + HOLDS + SKIPPED, 0, id="differs, holds and skipped"),
        pytest.param(DIFFERS + FAILED, 1, id="differs and violated"),
        pytest.param(DIFFERS + ERROR, 10, id="differs and undetermined"),
        pytest.param(ERROR_AFTER, 10, id="broken clean-up"),
    ],
)
def test_the_exit_code_does_not_count_what_differs(pytester: pytest.Pytester, text: str, code: int) -> None:
    done = run(pytester, text)

    assert done.code == code, done.output


@pytest.mark.parametrize(
    ("mode", "outcome", "reason"),
    [
        pytest.param("none", "differs", "there is no kube-proxy here", id="none"),
        pytest.param("unknown", "differs", "it is not known that kube-proxy serves Services here", id="unknown"),
        pytest.param("ipvs", "differs", "kube-proxy runs in ipvs mode", id="ipvs"),
        pytest.param("iptables+", "differs", "Cilium v1.20.2 in place of kube-proxy serves Services", id="other"),
        pytest.param("iptables", "failed", "", id="iptables"),
        pytest.param("nftables", "failed", "", id="nftables"),
    ],
)
def test_what_is_not_known_to_be_kube_proxy_is_not_bound_by_its_habits(
    pytester: pytest.Pytester, mode: str, outcome: str, reason: str
) -> None:
    done = run(pytester, DIFFERS + FAILED, mode)

    assert done.results == {"C01": "failed", "C02": outcome}
    assert reason in done.output


@pytest.mark.parametrize(
    ("mode", "outcome"), [("ipvs", "differs"), ("iptables", "failed"), ("none", "failed"), ("ipvs+", "failed")]
)
def test_a_known_behaviour_counts_where_a_kube_proxy_has_it(pytester: pytest.Pytester, mode: str, outcome: str) -> None:
    done = run(pytester, KNOWN, mode)

    assert done.results == {"C09": outcome}
    assert ("a known behaviour: kube-proxy keeps entries" in done.output) == (outcome == "differs")


def test_the_program_that_serves_services_is_in_summary_and_report(pytester: pytest.Pytester) -> None:
    done = run(pytester, DIFFERS, "unknown+")

    assert "4 nodes, Cilium v1.20.2 in place of kube-proxy, kernel ?" in done.output
    assert done.report["cluster"]["programs"] == [
        {
            "name": "Cilium",
            "version": "v1.20.2",
            "serves": "in place of kube-proxy",
            "source": "DaemonSet kube-system/cilium",
        }
    ]
    assert report.problems(done.report) == ()
    assert "Cilium v1.20.2 in place of kube-proxy" in "\n".join(overview.summary(done.report))


@pytest.mark.parametrize("options", [("-v",), ("-q",), ("-rs", "--no-fold-skipped"), ("-x",)])
def test_with_other_output_a_difference_is_none_the_less(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    done = run(pytester, DIFFERS + SKIPPED, "none", *options)

    assert (done.code, done.results["C02"]) == (0, "differs"), done.output
    assert "Traceback" not in done.output


def test_a_known_difference_of_the_api_is_reported_with_its_link(pytester: pytest.Pytester) -> None:
    known = "differences: [{claim: C01, reason: rounded, link: 'https://example.org/7'}]\n"
    (pytester.path / "known.yaml").write_text(known)

    done = run(pytester, DIFFERS + FAILED, "none", "--differences=known.yaml")

    assert done.code == 0, done.output
    assert done.results == {"C01": "differs", "C02": "differs"}
    links = {claim["id"]: claim.get("link") for claim in done.report["claims"]}
    assert links == {"C01": "https://example.org/7", "C02": None}
    (profile,) = (profile for profile in done.report["profiles"] if profile["name"] == "api")
    assert profile["result"] == "failure"
