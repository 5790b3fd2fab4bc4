"""The catalogue of claims: each with its subject and the texts of its test, in the order in which claims are judged."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from session_affinity.claims.claim import Claim

SUBJECTS: Final = {
    "api_fields": "What the API stores, refuses and warns about",
    "distribution": "Which endpoints answer a client",
    "rules": "Rules that kube-proxy programs on each node",
    "lists": "Affinity entries on each node",
    "dual_stack": "Both IP families of a dual-stack cluster",
    "paths": "Node ports, external addresses, traffic policies, topology",
    "limits": "Full lists, short timeouts, changed timeouts",
    "endpoint_changes": "Endpoints and Services that come and go",
    "shapes": "Services of every shape, generated",
    "walks": "Random edits of Services",
    "expiry": "Expiry of affinity entries",
    "disruption": "Restarts of kube-proxy and interference with its rules",
}
"""Every subject with its title, in the order in which subjects are judged; tests of its claims have it as marker."""
SECTIONS: Final = ("Preconditions", "Steps", "Expected")


@dataclass(frozen=True)
class ClaimTest:
    """A claim and its test.

    ``test`` is the node id. ``why``, ``preconditions``, ``steps`` and ``expected`` are the docstring, each in one
    line; ``why`` is the part before the sections. A ``disruptive`` test disturbs what other tests rely on.
    """

    claim: Claim
    subject: str
    test: str
    why: str
    preconditions: str
    steps: str
    expected: str
    disruptive: bool = False


def read_docstring(docstring: str, where: str) -> tuple[str, str, str, str]:
    """Return why a claim matters, and its three sections, each in one line.

    ``where`` names the test in the error. Raises UsageError if a section is missing or out of order, or if nothing says
    why the claim matters.
    """
    parts = re.split(rf"^({'|'.join(SECTIONS)}): ", inspect.cleandoc(docstring), flags=re.MULTILINE)
    if tuple(parts[1::2]) != SECTIONS:
        raise UsageError(
            f"{where}: its docstring has the sections {', '.join(parts[1::2]) or '(none)'}",
            next_step=f"the docstring of a claim's test needs {', '.join(SECTIONS)}, in this order",
        )
    why, preconditions, steps, expected = (" ".join(part.split()) for part in (parts[0], *parts[2::2]))
    if not why:
        raise UsageError(
            f"{where}: its docstring does not say why the claim matters",
            next_step="begin it with what breaks for users when the claim does not hold",
        )
    return why, preconditions, steps, expected
