"""The claims that a command line selects: by id, subject and promise, or by an expression of them."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import click

from session_affinity.claims import Promise
from session_affinity.claims.catalogue import SUBJECTS
from session_affinity.cli.run_options import GroupedOption, heading
from session_affinity.options import CLAIMS_GROUP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pytest

_NAME: Final = re.compile(r"[A-Za-z]\w*")
_ID: Final = re.compile(r"[cC]\d+\w*")


class Names(click.ParamType[str]):
    """An id, a subject or a promise; ids may be written in small letters."""

    name = "claim"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name as markers have it."""
        text = str(value)
        if not _NAME.fullmatch(text):
            self.fail(f"{text!r} is no claim and no subject; for an expression use -m", param, ctx)
        return f"C{text[1:].lower()}" if _ID.fullmatch(text) else text

    def shell_complete(self, _: click.Context, __: click.Parameter, incomplete: str) -> list[Any]:
        """Complete subjects and promises."""
        from click.shell_completion import CompletionItem

        names = {**SUBJECTS, **{str(promise): "" for promise in Promise}}
        return [CompletionItem(name, help=text) for name, text in names.items() if name.startswith(incomplete)]


def selection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the parameters ``names`` and ``claims_selection``."""
    function = click.option(
        "-m",
        "--claims-selection",
        cls=GroupedOption,
        heading=heading(CLAIMS_GROUP),
        metavar="EXPR",
        default="",
        help="Select claims by an expression of ids, subjects and promises, such as 'api and not expiry'."
        " Default: all claims.",
    )(function)
    return click.argument("names", nargs=-1, type=Names(), metavar="[CLAIM|SUBJECT]...")(function)


def selection_arguments(names: Sequence[str], expression: str) -> Iterator[str]:
    """Yield the arguments by which pytest selects the claims that both select."""
    parts = [part for part in (" or ".join(names), expression) if part]
    if parts:
        yield "-m"
        yield " and ".join(f"({part})" for part in parts) if len(parts) > 1 else parts[0]


class RefuseUnknownNames:
    """A plugin of pytest that ends a run before anything starts when a name is no claim, subject or promise."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Compare the names with the catalogue."""
        import pytest

        from session_affinity.plugin.claims import CATALOGUE

        known = (*session.config.stash[CATALOGUE], *SUBJECTS, *map(str, Promise))
        for name in self._names:
            if name not in known:
                raise pytest.UsageError(unknown(name, known))


def unknown(name: str, known: Sequence[str]) -> str:
    """Return the message about a name that is none of the known ones, with those that it may be meant for."""
    close = get_close_matches(name, known, cutoff=0.8)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    return f"there is no claim or subject {name}\n  next: {meant}`session-affinity claims` lists them"
