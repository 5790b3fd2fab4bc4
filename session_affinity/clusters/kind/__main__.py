"""``python -m session_affinity.clusters.kind``: kept kind clusters from the command line."""

try:
    from session_affinity.clusters.kind.cli import main
except KeyboardInterrupt:  # before anything was begun
    raise SystemExit(130) from None

raise SystemExit(main())
