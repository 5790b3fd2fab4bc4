"""Tables and pictures of what was seen, for the report: pure functions from observations to text."""
