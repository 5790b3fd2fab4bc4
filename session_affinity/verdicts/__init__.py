"""Pure functions from observations to verdicts that carry their numbers."""
