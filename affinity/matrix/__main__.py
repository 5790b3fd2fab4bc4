"""``python -m affinity.matrix``: the matrix from the command line."""

try:
    from affinity.matrix.cli import main
except KeyboardInterrupt:  # before anything was begun
    raise SystemExit(130) from None

raise SystemExit(main())
