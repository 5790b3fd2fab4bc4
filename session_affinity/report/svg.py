"""Plain SVG for light and dark pages, without scripts and without external fonts or files.

Allure shows a picture as a separate image, which sees the colour scheme of the reader's system but not that of the
page; so each picture draws its own background.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Final

COLOURS: Final = 6
"""The number of colours for endpoints; further endpoints repeat them."""

_LIGHT: Final = {
    "ground": "#ffffff", "ink": "#1f2328", "dim": "#59636e", "line": "#d1d9e0", "band": "#dff3e4", "bad": "#d1242f",
    "c0": "#0969da", "c1": "#bc4c00", "c2": "#1a7f37", "c3": "#8250df", "c4": "#7d4e00", "c5": "#00707f",
}  # fmt: skip
_DARK: Final = {
    "ground": "#151b23", "ink": "#f0f6fc", "dim": "#9198a1", "line": "#3d444d", "band": "#12351f", "bad": "#ff7b72",
    "c0": "#58a6ff", "c1": "#f0883e", "c2": "#3fb950", "c3": "#bc8cff", "c4": "#e3b341", "c5": "#39c5cf",
}  # fmt: skip


def _style() -> str:
    def rules(palette: dict[str, str]) -> str:
        fills = "".join(f".{name}{{fill:{colour}}}" for name, colour in palette.items())
        strokes = "".join(f".s-{name}{{stroke:{colour}}}" for name, colour in palette.items())
        return fills + strokes

    return (
        "<style>text{font:13px system-ui,'Segoe UI','DejaVu Sans',sans-serif}.b{font-weight:600}.n{fill:none}"
        f"{rules(_LIGHT)}@media(prefers-color-scheme:dark){{{rules(_DARK)}}}</style>"
    )


@dataclass
class Picture:
    """A drawing; coordinates are pixels from its upper left corner. ``title`` is also read by screen readers."""

    width: float
    height: float
    title: str
    _parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, style: str = "ink", *, anchor: str = "start") -> None:
        """Write a text with its base line at ``y``; ``anchor`` is start, middle or end."""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def box(self, x: float, y: float, width: float, height: float, style: str) -> None:
        """Draw a filled rectangle."""
        shape = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}" rx="1.5"'
        self._parts.append(f'<rect {shape} class="{style}"/>')

    def dot(self, x: float, y: float, radius: float, style: str) -> None:
        """Draw a filled circle."""
        self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" class="{style}"/>')

    def line(self, start: tuple[float, float], end: tuple[float, float], style: str, *, dashed: bool = False) -> None:
        """Draw a straight line from one point to another."""
        dashes = ' stroke-dasharray="4 3"' if dashed else ""
        ends = f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
        self._parts.append(f'<line {ends} class="s-{style}"{dashes}/>')

    def render(self) -> str:
        """Return the picture as the content of an SVG file."""
        size = f'width="{self.width:.0f}" height="{self.height:.0f}" viewBox="0 0 {self.width:.0f} {self.height:.0f}"'
        return "".join(
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><title>{escape(self.title)}</title>',
                _style(),
                f'<rect width="{self.width:.0f}" height="{self.height:.0f}" rx="6" class="ground"/>',
                *self._parts,
                "</svg>\n",
            )
        )


def colour(place: int) -> str:
    """Return the style of the endpoint at a place of a list of endpoints."""
    return f"c{place % COLOURS}"
