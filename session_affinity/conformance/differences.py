"""Known differences of an implementation: a file that lets claims differ without failing a run.

    differences:
    - claim: C24
      reason: the timeout is rounded up to 10 s
      link: https://example.org/issues/7
      until: 2.4.0

From version ``until`` of the implementation on, the difference is no longer known. A claim that cannot be tested stays
an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml
from packaging.version import InvalidVersion, Version

from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

_FIELDS: Final = {"claim", "reason", "link", "until"}


@dataclass(frozen=True)
class KnownDifference:
    """A claim that an implementation is known to violate, why, where that is tracked, and until which version."""

    claim: str
    reason: str
    link: str = ""
    until: str = ""

    def is_known_in(self, version: str) -> bool:
        """Return whether the difference is known in a version of the implementation; empty is any version.

        Raises UsageError for a version that has no order.
        """
        if not self.until or not version:
            return True
        return _version(version) < _version(self.until)


def read_differences(file: Path, claims: Container[str], version: str = "") -> dict[str, KnownDifference]:
    """Return the differences of a file that are known in a version of the implementation, by claim.

    Raises UsageError, naming file and entry, for a file that cannot be read, a claim that is not in ``claims``, and an
    entry without a reason.
    """
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"--differences {file}: {error}", next_step="name a YAML file of known differences") from error
    entries = document.get("differences") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise UsageError(f"--differences {file}: there is no list 'differences' in it")
    found = [_difference(entry, f"--differences {file}: entry {number}") for number, entry in enumerate(entries, 1)]
    for difference in found:
        if difference.claim not in claims:
            raise UsageError(
                f"--differences {file}: {difference.claim} is no claim of this suite",
                next_step="session-affinity claims lists them",
            )
    return {difference.claim: difference for difference in found if difference.is_known_in(version)}


def _difference(entry: Any, where: str) -> KnownDifference:
    if not isinstance(entry, dict) or not entry.get("claim") or not entry.get("reason"):
        raise UsageError(f"{where} needs a claim and a reason")
    if unknown := set(entry) - _FIELDS:
        raise UsageError(f"{where} has the unknown field {', '.join(sorted(unknown))}")
    return KnownDifference(**{name: str(value) for name, value in entry.items()})


def _version(text: str) -> Version:
    try:
        return Version(text.removeprefix("v"))
    except InvalidVersion as error:
        raise UsageError(f"{text!r} is no version that can be compared", next_step="write it as 1.2.3") from error
