"""``python -m affinity.clusters.kind``: kept kind clusters from the command line."""

from affinity.clusters.kind.cli import main

raise SystemExit(main())
