"""The options of a run are the same on pytest's command line and on that of ``session-affinity check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from session_affinity.cli.commands import check
from session_affinity.cli.run_options import PASSED_ON, GroupedCommand, arguments_of, run_options, value_of
from session_affinity.options import OPTIONS, cluster_options

if TYPE_CHECKING:
    from session_affinity.options import RunOption

pytestmark = pytest.mark.unit

VALUES = {str: "word", Path: "some/file", int: "2", float: "2.5"}


@click.command(cls=GroupedCommand)
@run_options()
def echo(**values: object) -> None:
    """Print the arguments for pytest."""
    click.echo("\n".join((*arguments_of(values), *click.get_current_context().meta[PASSED_ON])))


def arguments(*words: str) -> list[str]:
    result = CliRunner().invoke(echo, words)
    assert result.exit_code == 0, result.output
    return result.output.split()


def value(option: RunOption) -> str:
    return option.choices[-1] if option.choices else VALUES[option.convert]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_pytest_gets_what_the_command_line_says(option: RunOption, pytestconfig: pytest.Config) -> None:
    given = option.name if option.is_flag else f"{option.name}={value(option)}"
    parsed = pytestconfig._parser.parse_known_args([given])

    assert arguments(given) == [given]
    expected = True if option.is_flag else option.convert(value(option))
    assert getattr(parsed, option.parameter) == ([expected] if option.multiple else expected)
    default = getattr(pytestconfig._parser.parse_known_args([]), option.parameter)
    assert default == (False if option.is_flag else [] if option.multiple else option.default)


def test_defaults_are_not_passed_on() -> None:
    assert arguments() == []


def test_what_follows_two_dashes_is_passed_on_as_it_is() -> None:
    assert arguments("--cluster", "kind", "--", "-x", "--cluster", "--", "y") == [
        *("--cluster=kind", "-x", "--cluster", "--", "y"),
    ]


def test_options_that_a_command_does_not_have_have_their_defaults() -> None:
    options = cluster_options(value_of({"node_access": "agent"}))

    assert (options.node_access, options.cluster, options.keep) == ("agent", "auto", False)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_help_has_the_option_and_its_default(option: RunOption) -> None:
    text = " ".join(CliRunner().invoke(check.command, ["--help"]).output.split())

    assert f"{option.name} " in text
    assert "Default: " in option.help
