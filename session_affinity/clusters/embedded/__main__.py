"""``python -m session_affinity.clusters.embedded``: an embedded cluster from the command line."""

try:
    from session_affinity.clusters.embedded.cli import main
except KeyboardInterrupt:  # before anything was begun
    raise SystemExit(130) from None

raise SystemExit(main())
