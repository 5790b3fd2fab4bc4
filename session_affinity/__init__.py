"""Checks of Kubernetes Service session affinity, importable without pytest."""
