"""The names and the labels of all objects that the suite creates on a cluster."""

from __future__ import annotations

import random
import string
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PART_OF: Final = "app.kubernetes.io/part-of"
COMPONENT: Final = "app.kubernetes.io/component"
SUITE: Final = "session-affinity-conformance"
"""The value of ``PART_OF`` on all of these objects."""
OF_SUITE: Final = f"{PART_OF}={SUITE}"
"""Selects them."""


def labels_of(component: str) -> dict[str, str]:
    """Return the labels of objects of one kind."""
    return {PART_OF: SUITE, COMPONENT: component}


def selector(labels: Mapping[str, str]) -> str:
    """Return the label selector of objects that have all of these labels."""
    return ",".join(f"{name}={value}" for name, value in labels.items())


def unique_name(purpose: str) -> str:
    """Return a new name with ``purpose`` in it; its random part keeps names of tests and runs apart."""
    suffix = "".join(random.SystemRandom().choices(string.ascii_lowercase + string.digits, k=5))
    return f"affinity-{purpose}-{suffix}"
