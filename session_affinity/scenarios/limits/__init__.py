"""Scenarios at the limits of affinity: a full recent list, and timeouts of a few seconds."""
