"""Makes a report work without the internet, and without error messages in the browser.

Allure 3.18 writes a Google Analytics script into every report and has no option against it (``analyticsEnable: true``
in plugin-awesome/dist/generators.js), so the script is cut out of the generated pages. The pages also request
``widgets/metrics.json``, which Allure writes only for runs with metrics; an empty one avoids the 404.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from session_affinity.errors import SuiteError

if TYPE_CHECKING:
    from pathlib import Path

_ANALYTICS: Final = re.compile(
    r'\s*<script [^>]*src="https://www\.googletagmanager\.com/[^>]*></script>\s*<script>.*?</script>', re.DOTALL
)
_ANALYTICS_HOST: Final = "www.googletagmanager.com"
_NO_METRICS: Final = '{"current":[],"history":[]}'


def make_offline(report: Path) -> None:
    """Cut the analytics script out of a report's pages and add the metrics file that they request.

    Raises SuiteError when a page still names the analytics host: a newer Allure writes the script in another form.
    """
    for page in report.rglob("index.html"):
        text = _ANALYTICS.sub("", page.read_text(encoding="utf-8"))
        if _ANALYTICS_HOST in text:
            raise SuiteError(
                f"{page} still loads a script from {_ANALYTICS_HOST}",
                next_step="correct the pattern in ci/matrix/offline_report.py for this version of Allure",
            )
        page.write_text(text, encoding="utf-8")
    widgets = report / "widgets"
    if widgets.is_dir() and not (widgets / "metrics.json").exists():
        (widgets / "metrics.json").write_text(_NO_METRICS, encoding="utf-8")
