"""``python -m ci.kubernetes_versions``: what newer versions there are, as the text of a pull request."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import fields
from typing import TYPE_CHECKING

from ci.kubernetes_versions.change import formatted, proposed
from ci.kubernetes_versions.published import Places, ask
from session_affinity import command_line, versions

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ci.kubernetes_versions",
        description=__doc__,
        epilog="It says nothing when there is nothing newer. GH_TOKEN, if set, is used to ask GitHub's API.",
    )
    parser.add_argument("--write", action="store_true", help=f"write the change to {versions.VERSIONS_FILE.name} too")
    places = Places(github_token=os.environ.get("GH_TOKEN", ""))
    for place in fields(Places):
        if place.name != "github_token":
            parser.add_argument(f"--{place.name}", default=getattr(places, place.name), metavar="URL", help="ask there")
    parser.set_defaults(verb=_propose, github_token=places.github_token)
    return command_line.run(parser, arguments)


def _propose(parsed: argparse.Namespace) -> int:
    places = Places(**{place.name: getattr(parsed, place.name) for place in fields(Places)})
    published = ask(versions.load().minors, places)
    change = proposed(json.loads(versions.VERSIONS_FILE.read_text(encoding="utf-8")), published)
    if change.lines:
        sys.stdout.write(change.markdown())
        if parsed.write:
            versions.VERSIONS_FILE.write_text(formatted(change.document), encoding="utf-8")
    else:
        sys.stderr.writelines(f"{note}\n" for note in (*change.notes, "nothing newer"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
