"""The Job in manifests/ is the one that the command prints."""

from __future__ import annotations

from ci import job_manifest


def test_the_manifest_is_what_the_command_prints() -> None:
    assert job_manifest.FILE.read_text(encoding="utf-8") == job_manifest.text(), "make docs writes it"
