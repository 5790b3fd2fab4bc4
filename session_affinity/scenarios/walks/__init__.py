"""Walks: random edits of hand-made Services and EndpointSlices, after which all nodes must have the expected rules."""
