"""``python -m affinity.clusters.embedded``: an embedded cluster from the command line."""

from affinity.clusters.embedded.cli import main

raise SystemExit(main())
