"""Small suites of claims, run by a pytest of their own with the plugins of the suite; no cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from session_affinity.claims.catalogue import SUBJECTS
from tests.integration.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

NAMES = (
    "options",
    "claims",
    "selection",
    "listing",
    "facts",
    "evidence",
    "terminal",
    "summary",
    "results",
    "run_files",
)
PLUGINS = [
    *(word for name in NAMES for word in ("-p", f"session_affinity.plugin.{name}")),
    *("-p", "fixtures.check", "-p", "no:cacheprovider"),
]
MARKERS = ("claim", "dataplane", "dual_stack", "api", "kube_proxy", "disruptive", *SUBJECTS)
INI = "[pytest]\nstrict = true\nmarkers =\n" + "".join(f" {name}: x\n" for name in MARKERS)
PRELUDE = '''
import pytest
from session_affinity import recorder
from session_affinity.claims import API, IPTABLES, KUBE_PROXY, sources
from session_affinity.errors import ClusterError, NotReadyError, PreflightError
from session_affinity.plugin.claims import claim
from session_affinity.traffic.answers import Answer, Answers, Target
from session_affinity.verdicts.verdict import Finding, Verdict

SECTIONS = "Preconditions: a Service.\\nSteps: requests.\\nExpected: one endpoint.\\n"
HOLDS = Verdict("100 of 100 from webpod2")
VIOLATED = Verdict("rule 2: --seconds 3600, expected 10800", (Finding("myk8s-worker2", "10800", "--seconds 3600"),))

def claimed(claim_id, title, subject="distribution", promised_by=API, **options):
    """Return a decorator that gives a test a docstring, a subject and a claim."""
    def decorate(test):
        test.__doc__ = f"{title}.\\n\\n{SECTIONS}"
        test = getattr(pytest.mark, subject)(test)
        return claim(claim_id, title, promised_by=promised_by, source=sources.FIELD, **options)(test)
    return decorate

@pytest.fixture(scope="session")
def run_facts():
    "Without a cluster there are no facts."

@pytest.fixture(scope="session")
def services():
    "No verdict here has a Service."
'''


def suite(text: str) -> str:
    """Return the source of a test module with some claims, and what it needs."""
    return PRELUDE + textwrap.dedent(text)


def run(pytester: pytest.Pytester, text: str, *args: str) -> pytest.RunResult:
    """Run a suite in this process."""
    pytester.makeini(INI)
    module = pytester.makepyfile(test_suite=suite(text))
    return pytester.runpytest_inprocess(*PLUGINS, str(module), *args)


def run_apart(directory: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a suite in a process of its own, with JUnit and Allure: allure-pytest keeps state in its module."""
    (directory / "pytest.ini").write_text(INI)
    (directory / "test_suite.py").write_text(suite(text))
    plugins = ("-p", "allure_pytest.plugin", *PLUGINS)
    files = ("--junit-xml=junit.xml", "--alluredir=results")
    return subprocess.run(
        (sys.executable, "-m", "pytest", *plugins, *options, "-c", "pytest.ini", *files, "test_suite.py"),
        cwd=directory,
        env={**os.environ, "PYTEST_ADDOPTS": "", "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def allure_results(results: Path) -> dict[str, dict[str, Any]]:
    """Return the results that Allure has by claim."""
    documents = [json.loads(file.read_text()) for file in results.glob("*-result.json")]
    return {
        label["value"]: document for document in documents for label in document["labels"] if label["name"] == "claim"
    }
