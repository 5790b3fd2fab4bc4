"""What everything that the suite makes on a cluster is called and labelled."""

from __future__ import annotations

import random
import string
from typing import Final

PART_OF: Final = "session-affinity-conformance"
"""The value of the label app.kubernetes.io/part-of on all of it."""


def unique_name(purpose: str) -> str:
    """Return a name that nothing of another test or run has."""
    suffix = "".join(random.SystemRandom().choices(string.ascii_lowercase + string.digits, k=5))
    return f"affinity-{purpose}-{suffix}"
