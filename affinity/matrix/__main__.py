"""``python -m affinity.matrix``: the matrix from the command line."""

from affinity.matrix.cli import main

raise SystemExit(main())
