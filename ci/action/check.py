"""Runs ``session-affinity check`` for the action: options from INPUT_ variables, the result as outputs of the step.

The Python that runs this script is that of the environment in which the suite is installed. The step does not fail: a
later one does, when summary and artifact are made.
"""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RESULTS: Final = {
    0: "holds",
    1: "violated",
    2: "interrupted",
    3: "internal-error",
    4: "usage",
    5: "nothing-collected",
    10: "undetermined",
    11: "nothing-judged",
}
"""The output ``result`` for each exit code of the suite."""
INTERNAL_ERROR: Final = 3
OPTIONS: Final = (
    "context",
    "claims-selection",
    "node-access",
    "outside-client",
    "differences",
    "implementation",
    "implementation-organization",
    "implementation-project",
    "implementation-url",
    "implementation-version",
    "implementation-mode",
    "require",
)
"""The inputs that are options of the suite by the same name; an empty one is left to the suite."""
LOG: Final = "check.log"


def arguments(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the arguments of ``session-affinity check`` for the inputs."""
    yield from _input(environment, "claims").split()
    kubeconfig = _input(environment, "kubeconfig") or environment.get("KUBECONFIG", "")
    yield f"--kubeconfig={kubeconfig or Path(environment['HOME']) / '.kube' / 'config'}"
    yield from (f"--{name}={value}" for name in OPTIONS if (value := _input(environment, name)))
    yield f"--report={_input(environment, 'report')}"
    yield f"--junitxml={_input(environment, 'junit')}"
    yield from shlex.split(_input(environment, "args"))


def run(command: list[str], log: Path) -> int:
    """Run a command, copy its output to the step's and to a file, and return its exit code.

    GitHub takes no line of the output for one of its commands: part of it may come from the cluster. A signal that ends
    the job becomes an interrupt of the command, which then removes what it created.
    """
    token = secrets.token_hex(16)
    print(f"::stop-commands::{token}", flush=True)
    children: list[subprocess.Popen[str]] = []

    def interrupt(*_: object) -> None:
        for child in children:
            child.send_signal(signal.SIGINT)

    # Before the command starts: it would inherit an interrupt that is ignored here, and could not be interrupted.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    with (
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as child,
        log.open("w", encoding="utf-8") as file,
    ):
        children.append(child)
        for line in child.stdout or ():
            print(line, end="", flush=True)
            file.write(line)
    print(f"::{token}::", flush=True)
    return child.returncode


def write_outputs(file: Path, outputs: Mapping[str, str]) -> None:
    """Add outputs of the step; a value ends at a line that it cannot have."""
    with file.open("a", encoding="utf-8") as stream:
        for name, value in outputs.items():
            end = secrets.token_hex(16)
            stream.write(f"{name}<<{end}\n{value}\n{end}\n")


def main() -> int:
    """Run the suite and write the outputs."""
    environment = os.environ
    log = Path(environment["RUNNER_TEMP"]) / "session-affinity" / LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    files = {name: _input(environment, name) for name in ("report", "junit")}
    for file in files.values():
        Path(file).unlink(missing_ok=True)  # of an earlier run in this job
    program = Path(sys.executable).with_name("session-affinity")
    code = run([str(program), "check", *arguments(environment)], log)
    if code not in RESULTS:  # such as the number of a signal
        code = INTERNAL_ERROR
    outputs = {"exit-code": str(code), "result": RESULTS[code], **files, "log": str(log)}
    write_outputs(Path(environment["GITHUB_OUTPUT"]), outputs)
    return 0


def _input(environment: Mapping[str, str], name: str) -> str:
    return environment.get(f"INPUT_{name.upper().replace('-', '_')}", "").strip()


if __name__ == "__main__":
    sys.exit(main())
