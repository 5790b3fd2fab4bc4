"""Which endpoints clients are bound to while the endpoints of their Service change."""
