"""The build hook of the wheel: puts what a run reads beside the code below ``session_affinity/bundle``.

An editable installation reads the checkout's own files, so it gets no copies.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BundleHook(BuildHookInterface[Any]):
    """Adds the files that pyproject.toml lists under this hook."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add them to a wheel; ``version`` is ``editable`` or ``standard``."""
        if version != "editable":
            build_data["force_include"].update(self.config["bundle"])
