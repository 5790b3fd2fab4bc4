"""When a client is forgotten: groups of Services that share one wait."""
