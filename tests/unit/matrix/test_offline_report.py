"""A report loads nothing from the internet; a script that cannot be cut out is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ci.matrix.offline_report import make_offline
from session_affinity.errors import SuiteError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

ANALYTICS = """
    <script async src="https://www.googletagmanager.com/gtag/js?id=G-1"></script>
    <script>
        gtag('config', 'G-1');
    </script>"""


def test_the_analytics_script_is_cut_out_and_the_rest_of_the_page_stays(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(f"<body>{ANALYTICS}\n<script>report()</script></body>")
    (tmp_path / "widgets").mkdir()

    make_offline(tmp_path)

    assert (tmp_path / "index.html").read_text() == "<body>\n<script>report()</script></body>"
    assert (tmp_path / "widgets" / "metrics.json").is_file()


def test_a_script_in_another_form_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<script>load('https://www.googletagmanager.com/gtag.js')</script>")

    with pytest.raises(SuiteError, match="still loads a script from www"):
        make_offline(tmp_path)
