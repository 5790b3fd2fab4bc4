"""``python -m ci.matrix``: the matrix from the command line."""

try:
    from ci.matrix.cli import main
except KeyboardInterrupt:  # before anything was begun
    raise SystemExit(130) from None

raise SystemExit(main())
