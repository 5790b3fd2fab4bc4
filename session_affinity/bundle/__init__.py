"""Where the files are that a run reads beside the library: claims, fixtures, manifests, pytest's configuration.

In an installed package they are beside this file, where the build puts them (pyproject.toml, hooks.custom.bundle). In a
checkout they are the checkout's own directories, so that an edit takes effect at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).resolve().parent
IS_INSTALLED: Final = (_HERE / "suite").is_dir()
"""Whether this is an installed package; False in a checkout, editable installations included."""
ROOT: Final = _HERE if IS_INSTALLED else _HERE.parents[1]
"""The directory that has all of it; ``fixtures`` is imported from here."""
SUITE: Final = ROOT / "suite"
MANIFESTS: Final = ROOT / "manifests"
PYTEST_CONFIGURATION: Final = ROOT / "pytest.toml"
KUBERNETES_VERSIONS: Final = (ROOT if IS_INSTALLED else ROOT / ".github") / "kubernetes-versions.json"
