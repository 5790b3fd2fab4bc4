"""``python -m ci.kubernetes_versions``: print the text of a pull request with newer versions, if there are any."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import fields
from typing import TYPE_CHECKING

from ci.kubernetes_versions.change import format_document, propose
from ci.kubernetes_versions.published import Addresses, fetch
from session_affinity import command_line, versions

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ci.kubernetes_versions",
        description=__doc__,
        epilog="Without anything newer it prints nothing on standard output. It uses GH_TOKEN for GitHub's API.",
    )
    parser.add_argument("--write", action="store_true", help=f"also change {versions.VERSIONS_FILE.name}")
    addresses = Addresses(github_token=os.environ.get("GH_TOKEN", ""))
    for field in fields(Addresses):
        if field.name != "github_token":
            parser.add_argument(
                f"--{field.name}", default=getattr(addresses, field.name), metavar="URL", help="[%(default)s]"
            )
    parser.set_defaults(verb=_propose, github_token=addresses.github_token)
    return command_line.run(parser, arguments)


def _propose(parsed: argparse.Namespace) -> int:
    addresses = Addresses(**{field.name: getattr(parsed, field.name) for field in fields(Addresses)})
    published = fetch(versions.load().minors, addresses)
    change = propose(json.loads(versions.VERSIONS_FILE.read_text(encoding="utf-8")), published)
    if change.lines:
        sys.stdout.write(change.markdown())
        if parsed.write:
            versions.VERSIONS_FILE.write_text(format_document(change.document), encoding="utf-8")
    else:
        sys.stderr.writelines(f"{note}\n" for note in (*change.notes, "nothing newer"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
