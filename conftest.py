"""The plugins of the suite: options and hooks, then fixtures."""

pytest_plugins = [
    "fixtures.options",
    "fixtures.claims",
    "fixtures.selection",
    "fixtures.facts",
    "fixtures.evidence",
    "fixtures.reporting",
    "fixtures.summary",
    "fixtures.results",
    "fixtures.runfiles",
    "fixtures.cluster",
    "fixtures.pods",
    "fixtures.families",
    "fixtures.clients",
    "fixtures.nodes",
    "fixtures.services",
    "fixtures.rules",
    "fixtures.paths",
    "fixtures.datagrams",
    "fixtures.zones",
    "fixtures.expiry",
]
