"""``python -m tests.scale 1000 5000``: what it costs to have so many nodes judged by agents (docs/scale.md)."""

from __future__ import annotations

import sys

from tests.scale.measure import kinds_of, measure

if __name__ == "__main__":
    for count in map(int, sys.argv[1:] or ("1000",)):
        sys.stdout.write(f"{measure(kinds_of(count)).table()}\n")
