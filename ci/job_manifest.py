"""Writes manifests/job.yaml: what ``session-affinity job --node-access agent`` prints, under a heading."""

from __future__ import annotations

import sys
from typing import Final

from click.testing import CliRunner

from session_affinity import bundle
from session_affinity.cli.commands.job import command
from session_affinity.errors import SuiteError

FILE: Final = bundle.MANIFESTS / "job.yaml"
ARGUMENTS: Final = ("--node-access", "agent")
_HEADING: Final = """\
# The suite as a Job of the cluster that it judges: kubectl apply -f job.yaml. docs/in-the-cluster.md says more.
#
# Made by `session-affinity job {arguments}`; the same command with other options prints another one. The
# ServiceAccount has the rights that `session-affinity rbac` prints for these options, and no others. The namespace
# admits privileged pods for the agents (node-agent.yaml); the Job's own pod is admitted at level restricted.
"""


def text() -> str:
    """Return the manifest; raises SuiteError when the command fails."""
    done = CliRunner().invoke(command, ARGUMENTS)
    if done.exit_code:
        raise SuiteError(f"session-affinity job: {done.output}")
    return _HEADING.format(arguments=" ".join(ARGUMENTS)) + done.output


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
    sys.exit(0)
