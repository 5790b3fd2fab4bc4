"""The plugins of the suite: options and hooks, then fixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from session_affinity.plugin import allure_labels

if TYPE_CHECKING:
    import pytest

PLUGINS: Final = (
    "session_affinity.plugin.options",
    "session_affinity.plugin.claims",
    "session_affinity.plugin.selection",
    "session_affinity.plugin.listing",
    "session_affinity.plugin.memory",
    "session_affinity.plugin.facts",
    "session_affinity.plugin.clean_up",
    "session_affinity.plugin.evidence",
    "session_affinity.plugin.terminal",
    "session_affinity.plugin.summary",
    *allure_labels.PLUGINS,
    "session_affinity.plugin.conformance",
    "fixtures.options",
    "fixtures.facts",
    "fixtures.check",
    "fixtures.cluster",
    "fixtures.pods",
    "fixtures.dual_stack",
    "fixtures.client",
    "fixtures.many_clients",
    "fixtures.nodes",
    "fixtures.services",
    "fixtures.api_fields",
    "fixtures.rules",
    "fixtures.paths",
    "fixtures.outside",
    "fixtures.datagrams",
    "fixtures.expiry",
    "fixtures.shapes",
    "fixtures.zones",
    "fixtures.answered_shapes",
    "fixtures.walks",
    "fixtures.endpoint_changes",
    "fixtures.limits",
    "fixtures.disruption_services",
    "fixtures.switches",
    "fixtures.background",
    "fixtures.disruption",
)


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Import the plugins. For each name in ``pytest_plugins`` pytest would read the entry points of all packages."""
    for name in PLUGINS:
        pluginmanager.import_plugin(name)
