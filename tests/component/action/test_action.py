"""The scripts of the GitHub action, with stand-ins for pip and for the suite."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from ci.action import check, kind_cluster, summary
from session_affinity.conformance import report as reports
from session_affinity.conformance.exit_codes import ExitCode
from session_affinity.conformance.result import Outcome, RunResult, SkipReason
from session_affinity.options import OPTIONS
from tests.unit.conformance import conftest as small

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "ci" / "action"
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
WORKFLOW: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "kind-and-cni.yml").read_text())
SUITE = """\
#!/bin/sh
printf '%s\\n' "$@" > arguments
trap 'echo cleaned up; exit 2' INT
echo 'passed  C10   one endpoint ::error::not an annotation'
[ -z "$HANG" ] || { echo waiting; while :; do sleep 0.05; done; }
[ -z "$REPORT_TEXT" ] || printf '%s' "$REPORT_TEXT" > report.yaml
exit "$CODE"
"""
OUTPUT = "lines before\n\x1b[1m=========== summary ===========\x1b[0m\ncluster: c\n``` text\nfailed  C24 it\n"
description = small.description


@pytest.fixture
def report(description: reports.RunDescription) -> dict[str, Any]:
    """A report with a claim of each result."""
    run = small.run_of(C24=Outcome.FAILED, C16=Outcome.UNDETERMINED, C67=Outcome.DIFFERS, C61=SkipReason.NO_ACCESS)
    passes = RunResult(run.claims, run.facts, run.seconds, ("C10",))
    return reports.document(passes, small.CATALOGUE, description)


class Step:
    """A step of the action: a directory to work in, an environment with a stand-in for the suite, and outputs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.outputs_file = directory / "outputs"
        self.summary_file = directory / "summary.md"
        programs = directory / "environment" / "bin"
        programs.mkdir(parents=True)
        (programs / "python").symlink_to(sys.executable)
        (programs / "session-affinity").write_text(SUITE)
        (programs / "session-affinity").chmod(0o755)
        self.python = programs / "python"
        self.started: list[subprocess.Popen[str]] = []

    def start(self, script: str, **variables: str) -> subprocess.Popen[str]:
        """Start a script of the action."""
        base = {"PATH": os.environ["PATH"], "HOME": "/home/user", "RUNNER_TEMP": str(self.directory / "temp")}
        files = {"GITHUB_OUTPUT": str(self.outputs_file), "GITHUB_STEP_SUMMARY": str(self.summary_file)}
        inputs = {"INPUT_REPORT": "report.yaml", "INPUT_JUNIT": "junit.xml", "CODE": "0", "HANG": "", "REPORT_TEXT": ""}
        process = subprocess.Popen(
            (str(self.python), str(SCRIPTS / script)),
            cwd=self.directory,
            env={**base, **files, **inputs, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """End the scripts that still run, with the stand-in for the suite: a test that fails leaves them."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()

    def run(self, script: str, **variables: str) -> tuple[int, str]:
        """Run a script to its end."""
        process = self.start(script, **variables)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def outputs(self) -> dict[str, str]:
        """Return the outputs as GitHub reads them."""
        text = self.outputs_file.read_text()
        blocks = re.findall(r"^([\w-]+)<<(\w+)\n(.*?)\n\2$", text, re.MULTILINE | re.DOTALL)
        return {
            **dict(re.findall(r"^([\w-]+)=(.*)$", text, re.MULTILINE)),
            **{name: value for name, _, value in blocks},
        }

    def arguments(self) -> list[str]:
        """Return the arguments that the suite was given."""
        return (self.directory / "arguments").read_text().splitlines()


@pytest.fixture
def step(tmp_path: Path) -> Iterator[Step]:
    step = Step(tmp_path)
    yield step
    step.end()


def test_every_exit_code_of_the_suite_has_a_result() -> None:
    assert {code: name.replace("-", "_").upper() for code, name in check.RESULTS.items()} == {
        code.value: code.name for code in ExitCode
    }
    assert set(re.findall(r"[a-z]+(?:-[a-z]+)*", ACTION["outputs"]["result"]["description"])) >= set(
        check.RESULTS.values()
    )


def test_the_inputs_of_the_action_are_options_of_the_suite() -> None:
    names = {option.name for option in OPTIONS} | {"--claims-selection"}

    assert {f"--{name}" for name in check.OPTIONS} <= names
    other = {"kubeconfig", "claims", "report", "junit", "args", "version", "artifact"}
    assert set(ACTION["inputs"]) == {*check.OPTIONS, *other}


def test_the_step_gives_every_input_to_the_script() -> None:
    steps = {step.get("id"): step for step in ACTION["runs"]["steps"]}
    given = {value: name for name, value in steps["check"]["env"].items() if name.startswith("INPUT_")}

    for name in set(ACTION["inputs"]) - {"version", "artifact"}:
        assert given[f"${{{{ inputs.{name} }}}}"] == f"INPUT_{name.upper().replace('-', '_')}"


def test_no_input_stands_in_the_text_of_a_shell_command() -> None:
    for step in (*ACTION["runs"]["steps"], *WORKFLOW["jobs"]["check"]["steps"]):
        assert "${{" not in step.get("run", "")


def test_inputs_become_arguments_and_the_result_outputs(step: Step) -> None:
    code, output = step.run(
        "check.py",
        CODE="10",
        INPUT_CLAIMS="C10 expiry",
        INPUT_CLAIMS_SELECTION="api and not expiry",
        INPUT_KUBECONFIG="my config",
        INPUT_ARGS="--deadline-scale 2 -- -k 'one two'",
    )

    assert code == 0, output
    assert step.arguments() == [
        *("check", "C10", "expiry", "--kubeconfig=my config", "--claims-selection=api and not expiry"),
        *("--report=report.yaml", "--junitxml=junit.xml", "--deadline-scale", "2", "--", "-k", "one two"),
    ]
    outputs = step.outputs()
    assert (outputs["exit-code"], outputs["result"], outputs["report"]) == ("10", "undetermined", "report.yaml")
    assert "C10" in Path(outputs["log"]).read_text()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, "/home/user/.kube/config"), ({"KUBECONFIG": "/a/b"}, "/a/b"), ({"INPUT_KUBECONFIG": "c"}, "c")],
)
def test_the_kubeconfig_is_the_users(step: Step, variables: dict[str, str], expected: str) -> None:
    step.run("check.py", **variables)

    assert f"--kubeconfig={expected}" in step.arguments()


def test_github_takes_no_output_of_the_suite_for_a_command(step: Step) -> None:
    _, output = step.run("check.py")

    lines = output.splitlines()
    token = lines[0].removeprefix("::stop-commands::")
    assert lines[-1] == f"::{token}::"
    assert "::error::not an annotation" in lines[1]


def test_a_report_of_an_earlier_run_is_removed(step: Step) -> None:
    (step.directory / "report.yaml").write_text("kind: SessionAffinityReport\n")

    step.run("check.py", CODE="4")

    assert not (step.directory / "report.yaml").exists()


def test_a_cancelled_job_lets_the_suite_clean_up(step: Step) -> None:
    process = step.start("check.py", HANG="1")
    assert process.stdout is not None
    while "waiting" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=30)

    assert "cleaned up" in rest
    assert step.outputs()["result"] == "interrupted"


def test_the_summary_has_profiles_claims_and_the_terminal_summary(report: dict[str, Any]) -> None:
    text = "\n".join(summary.markdown("violated", report, OUTPUT))

    assert text.startswith("## Session affinity: violated\n")
    assert "| api | failure | 1 | 1 | 0 | 0 | 0 | none |" in text
    assert "| C24 | A client expires | failed | what was seen |" in text
    assert "````text\n=========== summary ===========" in text
    assert "lines before" not in text


def test_a_claim_that_did_not_pass_is_an_annotation(report: dict[str, Any]) -> None:
    report["claims"][1]["message"] = "50% of: 2\nlines"

    lines = list(summary.annotation_lines("violated", report, OUTPUT))

    assert "::error title=C24 failed%3A A client expires::50%25 of: 2%0Alines" in lines
    assert [line.split(" ")[0] for line in lines] == ["::error", "::notice", "::warning", "::notice"]


def test_claims_with_one_cause_are_one_annotation(report: dict[str, Any]) -> None:
    for claim in report["claims"][:2]:
        claim.update(result="undetermined", message="no cluster")

    lines = list(summary.annotation_lines("undetermined", report, OUTPUT))

    assert "::warning title=2 undetermined%3A C10%2C C24::no cluster" in lines
    assert "| C10, C24 | 2 claims | undetermined | no cluster |" in summary.markdown("undetermined", report, OUTPUT)


def test_a_run_without_a_report_shows_its_last_line(step: Step) -> None:
    log = step.directory / "check.log"
    log.write_text("usage\nERROR: no cluster\n")
    done = subprocess.run(
        (sys.executable, str(SCRIPTS / "summary.py")),
        env={"RESULT": "usage", "LOG": str(log), "REPORT": "missing", "GITHUB_STEP_SUMMARY": str(step.summary_file)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout == "::error title=Session affinity%3A usage::ERROR: no cluster\n"
    assert "ERROR: no cluster" in step.summary_file.read_text()


def test_what_the_suite_writes_is_read_back(report: dict[str, Any], tmp_path: Path) -> None:
    for name in ("report.yaml", "report.json"):
        reports.write(report, tmp_path / name)
        assert summary._read(tmp_path / name)["claims"] == report["claims"]


@pytest.mark.parametrize(
    ("version", "package"),
    [
        ("", str(ROOT)),
        ("1.2.3rc1", "session-affinity-conformance==1.2.3rc1"),
        ("latest", "session-affinity-conformance"),
        ("1; id", ""),
    ],
)
def test_the_version_says_what_is_installed(tmp_path: Path, version: str, package: str) -> None:
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\necho "$@" >> "$GITHUB_OUTPUT"\n[ "$2" != venv ] || { mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; '
        'printf "#!/bin/sh\\n" > "$3/bin/session-affinity"; chmod +x "$3/bin/session-affinity"; }\n'
    )
    python.chmod(0o755)
    outputs = tmp_path / "outputs"
    done = subprocess.run(
        (str(SCRIPTS / "install.sh"),),
        env={
            "PATH": os.environ["PATH"],
            "PYTHON": str(python),
            "VERSION": version,
            "RUNNER_TEMP": str(tmp_path),
            "GITHUB_OUTPUT": str(outputs),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    if not package:
        assert done.returncode == 4
        assert "is no version" in done.stdout
        assert not outputs.exists()
        return
    lines = outputs.read_text().splitlines()
    assert lines[1] == f"-m pip install --disable-pip-version-check --quiet {package}"
    assert lines[-1] == f"python={tmp_path}/session-affinity/environment/bin/python"


def test_the_workflow_configures_the_cluster_it_is_asked_for(step: Step) -> None:
    variables = {"PROXY_MODE": "none", "IP_FAMILY": "dual", "WORKERS": "2", "DEFAULT_CNI": "false"}
    (step.directory / "temp").mkdir()

    code, output = step.run("kind_cluster.py", KUBERNETES="1.36", **variables)

    assert code == 0, output
    outputs = step.outputs()
    assert outputs["image"].startswith("kindest/node:v1.36.")
    configuration = json.loads(Path(outputs["config"]).read_text())
    assert configuration["networking"] == {"disableDefaultCNI": True, "kubeProxyMode": "none", "ipFamily": "dual"}
    assert [node["role"] for node in configuration["nodes"]] == ["control-plane", "worker", "worker"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("KUBERNETES", "1.2"), ("PROXY_MODE", "x"), ("WORKERS", "0"), ("IP_FAMILY", ""), ("WORKERS", "a")],
)
def test_a_cluster_that_cannot_be_is_refused(step: Step, name: str, value: str) -> None:
    variables = {"KUBERNETES": "", "PROXY_MODE": "none", "IP_FAMILY": "dual", "WORKERS": "2", "DEFAULT_CNI": "false"}

    code, output = step.run("kind_cluster.py", **{**variables, name: value})

    assert code == 4
    assert output.startswith("::error title=Session affinity::")


def test_the_newest_version_is_the_default() -> None:
    assert kind_cluster.release("")["image"].startswith("kindest/node:v1.")


def test_the_workflow_passes_only_inputs_that_the_action_has() -> None:
    steps = {step.get("id"): step for step in WORKFLOW["jobs"]["check"]["steps"]}

    assert set(steps["check"]["with"]) <= set(ACTION["inputs"])
    assert steps["cluster"]["env"].keys() == {"KUBERNETES", "DEFAULT_CNI", "PROXY_MODE", "IP_FAMILY", "WORKERS"}
