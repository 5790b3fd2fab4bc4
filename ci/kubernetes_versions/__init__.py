"""Newer Kubernetes releases and node images: what is published, and what of it to put on the list of versions."""
