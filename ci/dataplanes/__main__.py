"""``python -m ci.dataplanes``: the plan of the nightly workflow, and its reports put into reports/."""

from __future__ import annotations

import sys

from ci.dataplanes.cli import main

if __name__ == "__main__":
    sys.exit(main())
