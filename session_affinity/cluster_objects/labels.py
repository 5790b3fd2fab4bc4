"""The names and the label of all objects that the suite creates on a cluster."""

from __future__ import annotations

import random
import string
from typing import Final

PART_OF: Final = "session-affinity-conformance"
"""The value of the label app.kubernetes.io/part-of on all of these objects."""


def unique_name(purpose: str) -> str:
    """Return a new name with ``purpose`` in it; its random part keeps names of tests and runs apart."""
    suffix = "".join(random.SystemRandom().choices(string.ascii_lowercase + string.digits, k=5))
    return f"affinity-{purpose}-{suffix}"
