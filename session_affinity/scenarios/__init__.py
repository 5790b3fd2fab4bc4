"""Scenarios: what the suite does to a cluster, and the observations that the verdicts judge."""
