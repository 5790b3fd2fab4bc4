"""The options of a run on pytest's command line, and the cluster they describe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from session_affinity.clusters.choice import check
from session_affinity.errors import UsageError
from session_affinity.options import OPTIONS, OUTPUT_GROUP, OptionGroup, cluster_options

if TYPE_CHECKING:
    from session_affinity.clusters.options import ClusterOptions

ONLY_BEHAVIOUR: Final = "--only-behaviour does not read the nodes: claims about them cannot be judged"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the cluster, of what is judged, and of the output."""
    for option in OPTIONS:
        attributes: dict[str, Any] = {"help": option.help}
        if option.is_flag:
            attributes["action"] = "store_true"
        else:
            attributes["type"] = option.convert
            attributes |= {"choices": option.choices} if option.choices else {"metavar": option.metavar}
            attributes |= {"action": "append", "default": []} if option.multiple else {"default": option.default}
        group_of(parser, option.group).addoption(option.name, **attributes)
    group_of(parser, OUTPUT_GROUP).addoption(
        "--list-images", action="store_true", help="Print the images that a run would use, and exit."
    )


def group_of(parser: pytest.Parser, group: OptionGroup) -> pytest.OptionGroup:
    """Return pytest's group of options for one of the suite's."""
    return parser.getgroup(group.name, f"session affinity: {group.heading}")


def pytest_configure(config: pytest.Config) -> None:
    """Reject options that contradict each other before anything starts."""
    try:
        check(cluster_options_of(config))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """With ``--list-images``, print the images instead of running."""
    if not config.getoption("--list-images"):
        return None
    from session_affinity.clusters.external.provider import images_for

    options = cluster_options_of(config)
    try:
        sys.stdout.writelines(f"{image}\n" for image in images_for(options))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    return int(pytest.ExitCode.OK)


def cluster_options_of(config: pytest.Config) -> ClusterOptions:
    """Return the options of the command line about the cluster."""
    return cluster_options(
        config.getoption,
        failed=lambda: bool(getattr(config.pluginmanager.getplugin("session"), "testsfailed", 0)),
    )
