"""Which implementation of Services a run judges: from a file or from options, for the conformance report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BRANCHES: Final = frozenset({"main", "master", "head", "dev", "develop", "trunk", "latest", "nightly"})
"""What is no version: a report says which state of an implementation it is about."""
FIELDS: Final = ("organization", "project", "url", "version", "contact", "mode")


@dataclass(frozen=True)
class Implementation:
    """An implementation of Services; fields that nobody named are empty.

    ``mode`` is a name that the implementation chooses for one of its configurations.
    """

    organization: str = ""
    project: str = ""
    url: str = ""
    version: str = ""
    contact: tuple[str, ...] = ()
    mode: str = "default"

    def __post_init__(self) -> None:
        if self.version.lower() in BRANCHES:
            raise UsageError(
                f"the implementation's version {self.version!r} is a branch",
                next_step="name a release, a tag or a commit",
            )


def read_implementation(file: Path | None, options: Mapping[str, str]) -> Implementation:
    """Return the implementation that a YAML file and options describe, options first; raises UsageError."""
    document: Any = {}
    if file is not None:
        try:
            document = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError) as error:
            raise UsageError(f"--implementation {file}: {error}", next_step="name a YAML file") from error
        if not isinstance(document, dict) or (unknown := set(document) - set(FIELDS)):
            names = ", ".join(sorted(unknown)) if isinstance(document, dict) else "no mapping"
            raise UsageError(f"--implementation {file}: {names}", next_step=f"its fields are {', '.join(FIELDS)}")
    fields = {**document, **{name: value for name, value in options.items() if value}}
    contact = fields.pop("contact", ())
    return Implementation(
        **{name: str(value) for name, value in fields.items()},
        contact=(contact,) if isinstance(contact, str) else tuple(map(str, contact)),
    )
