"""The options of a run (``session_affinity.options``) as options of a click command, listed under their headings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from session_affinity.options import OPTIONS, OptionGroup, RunOption

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


PASSED_ON: Final = f"{__name__}.passed_on"


class GroupedOption(click.Option):
    """An option with a heading."""

    def __init__(self, *args: Any, heading: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.heading = heading


class GroupedCommand(click.Command):
    """A command whose help lists options under their headings, in their order; what follows ``--`` is kept as it is.

    The arguments behind ``--`` are in ``ctx.meta[PASSED_ON]``.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments behind ``--`` from being parsed."""
        place = args.index("--") if "--" in args else len(args)
        ctx.meta[PASSED_ON] = tuple(args[place + 1 :])
        return super().parse_args(ctx, args[:place])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, each heading with its own."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                heading = parameter.heading if isinstance(parameter, GroupedOption) else "Other options"
                sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def run_options(chosen: Iterable[RunOption] = OPTIONS) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that gives a command the options of a run; its parameters have the options' names."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(tuple(chosen)):
            function = _click_option(option)(function)
        return function

    return decorate


def arguments_of(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the arguments by which pytest gets the values of a command's options, where they are not the defaults."""
    for option in OPTIONS:
        value = values.get(option.parameter)
        if not value or value == option.default:
            continue
        if option.is_flag:
            yield option.name
        else:
            yield from (f"{option.name}={each}" for each in (value if option.multiple else (value,)))


def heading(group: OptionGroup) -> str:
    """Return the heading of a group as help has it."""
    return group.heading[:1].upper() + group.heading[1:]


def value_of(values: Mapping[str, Any]) -> Callable[[str], Any]:
    """Return a function from an option's name to its value: its default where the command does not have it."""
    defaults = {option.name: False if option.is_flag else option.default for option in OPTIONS}
    names = {option.name: option.parameter for option in OPTIONS}
    return lambda name: values.get(names[name], defaults[name])


def _click_option(option: RunOption) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    attributes: dict[str, Any] = {"cls": GroupedOption, "heading": heading(option.group), "help": option.help}
    if option.is_flag:
        return click.option(option.name, is_flag=True, **attributes)
    if option.choices:
        attributes["type"] = click.Choice(option.choices)
    elif option.convert is Path:
        attributes["type"] = click.Path(path_type=Path)
    else:
        attributes["type"] = option.convert
    if not option.multiple:
        attributes["default"] = option.default
    return click.option(option.name, multiple=option.multiple, metavar=option.metavar, **attributes)
