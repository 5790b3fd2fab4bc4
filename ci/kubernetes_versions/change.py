"""Computes the next list of Kubernetes versions from what is published. No entry is ever replaced by an older one."""

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
    """The new list, a line for each difference, and notes for the person who reviews it."""

    document: dict[str, Any]
    lines: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        """Return the text of a pull request."""
        items = "\n".join(f"- {line}" for line in self.lines)
        return "\n\n".join((items, *self.notes)) + "\n"


def propose(document: dict[str, Any], published: Published) -> VersionChange:
    """Return the change of the list that ``published`` calls for; without ``lines`` there is none.

    A new minor version is added once kind has a node image for it. The oldest one then leaves, so that the number of
    versions stays the same.
    """
    new = copy.deepcopy(document)
    versions: list[dict[str, Any]] = new["versions"]
    lines = [line for entry in versions for line in _update(entry, published)]
    notes: list[str] = []
    newest = max(published.releases, key=_numbers)
    if _numbers(newest) > _numbers(versions[-1]["minor"]):
        if newest not in published.images:
            notes.append(f"Kubernetes {newest} is released, but kind has no node image for it yet.")
        else:
            oldest = versions.pop(0)["minor"]
            versions[-1]["default"] = False
            versions.append(_new_entry(newest, published, versions[-1]["proxy_modes"]))
            lines.append(f"Kubernetes {newest} is added as the default, and {oldest} is removed")
            notes.append("The README and the tests name the supported versions: update them.")
    return VersionChange(new, tuple(lines), tuple(notes))


def format_document(document: dict[str, Any]) -> str:
    """Return the list as text in the style of its file: two spaces a level, short lists of words on one line."""
    text = json.dumps(document, indent=2)
    return re.sub(r'\[\s+("[^\[\]{}]*?")\s+\]', lambda match: f"[{_on_one_line(match[1])}]", text) + "\n"


def _update(entry: dict[str, Any], published: Published) -> Iterator[str]:
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


def _new_entry(minor: str, published: Published, modes: list[str]) -> dict[str, Any]:
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


def _on_one_line(words: str) -> str:
    return ", ".join(word.strip() for word in words.split(","))
