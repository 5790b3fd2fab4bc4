"""The plugins of the suite: options and hooks, then fixtures."""

pytest_plugins = [
    "fixtures.options",
    "fixtures.claims",
    "fixtures.selection",
    "fixtures.listing",
    "fixtures.evidence",
    "fixtures.facts",
    "fixtures.reporting",
    "fixtures.cluster",
    "fixtures.pods",
    "fixtures.clients",
    "fixtures.crowd",
    "fixtures.nodes",
    "fixtures.services",
    "fixtures.asking",
    "fixtures.rules",
    "fixtures.expiry",
]
