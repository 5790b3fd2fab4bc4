"""Clients that are sent where they should not be."""

from __future__ import annotations

from tests.defects.defect import Defect, Place
from tests.defects.inject import written

DEFECTS: tuple[Defect, ...] = (
    Defect(
        "half of the requests go to the first endpoint",
        written(r"s/0\.3333333333/0.5000000000/", at=Place.CLIENT),
        fails={"C09": "not spread evenly", "C17": r"0\.5"},
        passes=("C10",),
        at=None,
    ),
)
