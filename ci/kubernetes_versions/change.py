"""What the list of versions would be with what is published now. Nothing is ever made older."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ci.kubernetes_versions.published import Published


@dataclass(frozen=True)
class VersionChange:
    """The new list, a line for each difference, and what a person has to know besides."""

    document: dict[str, Any]
    lines: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        """Return it as the text of a pull request."""
        listed = "\n".join(f"- {line}" for line in self.lines)
        return "\n\n".join((listed, *self.notes)) + "\n"


def proposed(document: dict[str, Any], published: Published) -> VersionChange:
    """Return the change that what is published makes to the list; ``lines`` is empty when there is none.

    A new minor comes in once kind has a node image for it, and the oldest goes, so that their number stays.
    """
    new = copy.deepcopy(document)
    versions: list[dict[str, Any]] = new["versions"]
    lines = [line for entry in versions for line in _newer(entry, published)]
    notes: list[str] = []
    newest = max(published.releases, key=_numbers)
    if _numbers(newest) > _numbers(versions[-1]["minor"]):
        if newest not in published.images:
            notes.append(f"Kubernetes {newest} is out, and kind has no node image for it yet.")
        else:
            gone = versions.pop(0)["minor"]
            versions[-1]["default"] = False
            versions.append(_entry(newest, published, versions[-1]["proxy_modes"]))
            lines.append(f"Kubernetes {newest} comes in as the default, and {gone} goes")
            notes.append("The README and the tests name the supported minors: look for them.")
    return VersionChange(new, tuple(lines), tuple(notes))


def formatted(document: dict[str, Any]) -> str:
    """Return the list as its file has it: two blanks a level, short lists of words on one line."""
    text = json.dumps(document, indent=2)
    return re.sub(r'\[\s+("[^\[\]{}]*?")\s+\]', lambda found: f"[{_joined(found[1])}]", text) + "\n"


def _newer(entry: dict[str, Any], published: Published) -> Iterator[str]:
    minor, release = entry["minor"], published.releases.get(entry["minor"], "")
    if _numbers(release) > _numbers(entry["release"]):
        yield f"{minor}: release {entry['release']} becomes {release}"
        entry["release"] = release
    image = published.images.get(minor)
    kind = entry["kind"]
    if image is None or _numbers(image.version) < _numbers(kind["version"]) or image.image == kind["image"]:
        return
    yield f"{minor}: kind {kind['version']} with {kind['image']} becomes {image.version} with {image.image}"
    entry["kind"] = {"version": image.version, "image": image.image}


def _entry(minor: str, published: Published, modes: list[str]) -> dict[str, Any]:
    image = published.images[minor]
    return {
        "minor": minor,
        "release": published.releases[minor],
        "kind": {"version": image.version, "image": image.image},
        "proxy_modes": modes,
        "default": True,
    }


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _joined(words: str) -> str:
    return ", ".join(word.strip() for word in words.split(","))
