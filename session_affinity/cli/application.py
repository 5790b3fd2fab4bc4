"""The program: its commands are the modules of ``session_affinity.cli.commands``, imported when they are named."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from session_affinity.about import DISTRIBUTION, version
from session_affinity.cli import commands, exit_codes
from session_affinity.conformance.exit_codes import ExitCode
from session_affinity.errors import SuiteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM: Final = "session-affinity"
NOT_DONE: Final = 1
_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
_EPILOG: Final = f"""\
\b
Examples:
  session-affinity check --kubeconfig ~/.kube/config      behaviour, as clients see it
  session-affinity check --kubeconfig ~/.kube/config --node-access agent
                                                          and the rules and entries on every node
  session-affinity check --kubeconfig FILE C10 C16 rules  some claims, and all of a subject
  session-affinity explain C16                            what a claim is about, and where to look when it fails
  session-affinity cluster up && session-affinity cluster status

\b
Exit codes:
{exit_codes.table()}

\b
Completion in your shell (bash, zsh and fish):
  eval "$(_SESSION_AFFINITY_COMPLETE=bash_source session-affinity)"

docs/installing.md of the repository says how to install it.
"""


class Commands(click.Group):
    """A group whose commands are the modules of a package, in the order of their names."""

    def list_commands(self, _: click.Context) -> list[str]:
        """Return the names of the commands."""
        return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None when there is none of that name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{commands.__name__}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command


@click.group(cls=Commands, context_settings=_SETTINGS, epilog=_EPILOG)
@click.version_option(version(), package_name=DISTRIBUTION, message="%(package)s %(version)s")
def application() -> None:
    """Check whether session affinity (sessionAffinity: ClientIP) of Kubernetes Services works, on every node.

    A claim is one promise about session affinity, with its source: the Service API, or kube-proxy where no document
    specifies the behaviour. `check` judges the claims on a cluster; a failure names the claim, the node, what was
    expected and what was observed.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; an error is one message on standard error, with the next step."""
    program = Path(sys.argv[0]).name if arguments is None else PROGRAM
    name = program if program in (PROGRAM, DISTRIBUTION) else PROGRAM
    try:
        code = application.main(arguments, prog_name=name, standalone_mode=False)
    except click.Abort:
        click.echo("interrupted; what was created has been removed", err=True)
        return ExitCode.INTERRUPTED
    except click.UsageError as error:
        error.show()
        return ExitCode.USAGE
    except click.ClickException as error:
        error.show()
        return NOT_DONE
    except SuiteError as error:
        click.echo(f"error: {error}", err=True)
        return ExitCode.USAGE if isinstance(error, UsageError) else NOT_DONE
    except BrokenPipeError:  # the reader of our output has ended
        sys.stdout = None
        return NOT_DONE
    return int(code or 0)
