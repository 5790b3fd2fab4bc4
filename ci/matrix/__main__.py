"""``python -m ci.matrix``: the command line of the matrix."""

try:
    from ci.matrix.cli import main
except KeyboardInterrupt:  # interrupted while modules were imported: nothing to clean up
    raise SystemExit(130) from None

raise SystemExit(main())
