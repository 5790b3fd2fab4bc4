"""``python -m session_affinity``: the command ``session-affinity``, where its script is not on PATH."""

from session_affinity.cli import main

raise SystemExit(main())
