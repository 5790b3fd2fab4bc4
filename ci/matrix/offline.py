"""A report that asks nothing of the internet, nor of its own server what is not there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

# Allure 3.18 counts its readers with Google, and has no option to leave that out (plugin-awesome, generators.js).
_COUNTING: Final = re.compile(
    r'\s*<script [^>]*src="https://www\.googletagmanager\.com/[^>]*></script>\s*<script>.*?</script>', re.DOTALL
)
_NO_METRICS: Final = '{"current":[],"history":[]}'
"""What the report's pages ask for in any case, and Allure writes only where there are metrics."""


def make_offline(report: Path) -> None:
    """Take out of a report what would tell others of its readers, and add the file that its pages miss."""
    for page in report.rglob("index.html"):
        text = page.read_text(encoding="utf-8")
        page.write_text(_COUNTING.sub("", text), encoding="utf-8")
    widgets = report / "widgets"
    if widgets.is_dir() and not (widgets / "metrics.json").exists():
        (widgets / "metrics.json").write_text(_NO_METRICS, encoding="utf-8")
