"""Writes what the report shows for the whole run: files beside the results, and the summary as an attachment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import allure
import pytest

from session_affinity import about
from session_affinity.plugin.claims import CATALOGUE
from session_affinity.plugin.facts import RUN_FACTS
from session_affinity.plugin.leg import leg_of
from session_affinity.plugin.summary import false_alarm_line, summary

if TYPE_CHECKING:
    from collections.abc import Mapping

_CATEGORIES = (
    {"name": "Does not conform: a claim does not hold", "matchedStatuses": ["failed"]},
    {"name": "Could not be tested: cluster, machine or suite", "matchedStatuses": ["broken", "unknown"]},
    {"name": "Skipped by rule: cannot be judged on this leg", "matchedStatuses": ["skipped"]},
)
_allure: Any = allure


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the facts, the executor and the categories where Allure reads them; attach the terminal's summary."""
    directory = session.config.getoption("allure_report_dir", default=None)
    run_facts = session.config.stash[RUN_FACTS]
    if not directory or session.config.getoption("collectonly"):
        return
    results = Path(directory)
    results.mkdir(parents=True, exist_ok=True)
    _write(results / "executor.json", executor(os.environ))
    _write(results / "categories.json", _CATEGORIES)
    if not run_facts.facts:
        return
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    catalogue = session.config.stash[CATALOGUE]
    facts = {
        **run_facts.facts,
        **{f"seconds {name}": f"{seconds:.1f}" for name, seconds in run_facts.phases().items()},
        **({"false alarm": false_alarm_line(catalogue, reporter.stats)} if reporter else {}),
    }
    (results / "environment.properties").write_text(properties(facts))
    if reporter:
        text = "\n".join(summary(session.config, reporter.stats)) + "\n"
        # A merged report lists the summaries of all legs side by side: the name has the leg.
        name = f"summary of the run: {', '.join(leg_of(session.config).parameters.values())}"
        _allure.global_attach(text, name, allure.attachment_type.TEXT)


def executor(environment: Mapping[str, str]) -> dict[str, str]:
    """Return Allure's executor: the workflow run on GitHub Actions, with its address; elsewhere a local pytest."""
    build = {"buildName": " ".join(filter(None, (about.version(), about.commit())))}
    if "GITHUB_RUN_ID" not in environment:
        return {"name": "pytest", "type": "local", **build}
    run = "/".join(
        (
            environment["GITHUB_SERVER_URL"],
            environment["GITHUB_REPOSITORY"],
            "actions/runs",
            environment["GITHUB_RUN_ID"],
        )
    )
    name = f"{environment.get('GITHUB_WORKFLOW', 'workflow')} #{environment.get('GITHUB_RUN_NUMBER', '')}"
    return {"name": "GitHub Actions", "type": "github", "buildName": name, "buildUrl": run}


def properties(facts: Mapping[str, str]) -> str:
    """Return facts as Java properties, the format of Allure's ``environment.properties``."""
    return "".join(f"{key(name)} = {value}\n" for name, value in facts.items())


def key(name: str) -> str:
    """Return a name as the key of a Java property, which would end at a space, a colon or an equals sign."""
    return name.replace(" ", "_").replace(":", "_").replace("=", "_")


def _write(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, indent=1) + "\n")
