"""Expiry of affinity: groups of Services that share one wait for the timeout."""
