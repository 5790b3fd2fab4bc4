"""Clusters that kind makes, in containers of a local engine."""
