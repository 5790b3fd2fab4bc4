"""Checks of Kubernetes Service session affinity, importable without pytest."""

__version__ = "0.1.0"
"""The version of the suite; the build reads it from here."""
