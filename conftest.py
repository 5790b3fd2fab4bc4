"""The plugins of the suite: options and hooks, then fixtures."""

pytest_plugins = [
    "fixtures.options",
    "fixtures.claims",
    "fixtures.selection",
    "fixtures.evidence",
    "fixtures.facts",
    "fixtures.reporting",
    "fixtures.cluster",
    "fixtures.pods",
    "fixtures.clients",
    "fixtures.nodes",
    "fixtures.services",
    "fixtures.asking",
    "fixtures.rules",
    "fixtures.expiry",
]
