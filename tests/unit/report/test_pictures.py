"""Pictures are well-formed SVG without scripts, with a mark for every observation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from session_affinity.report import pictures
from session_affinity.report.pictures import EntryLifetime
from session_affinity.traffic.answers import Answers, Target
from session_affinity.verdicts.spread import judge_spread

if TYPE_CHECKING:
    from tests.unit.verdicts.conftest import World

SVG = "{http://www.w3.org/2000/svg}"
ENDPOINTS = ["webpod1", "webpod2", "webpod3"]


def drawn(text: str) -> ET.Element:
    """Return a picture, after checking that it has only shapes and texts."""
    picture = ET.fromstring(text)
    assert {element.tag.removeprefix(SVG) for element in picture.iter()} <= {
        "svg",
        "title",
        "style",
        "rect",
        "circle",
        "line",
        "text",
    }
    assert "href" not in text
    assert "url(" not in text
    assert "prefers-color-scheme:dark" in text
    return picture


def styles(picture: ET.Element, tag: str) -> list[str]:
    return [element.get("class", "") for element in picture.iter(f"{SVG}{tag}")]


def texts(picture: ET.Element) -> list[str]:
    return [element.text or "" for element in picture.iter(f"{SVG}text")]


def test_every_request_has_a_mark_in_the_row_of_its_endpoint(world: World) -> None:
    answers = world.answers("webpod1", "webpod2", "webpod1", None)

    picture = drawn(pictures.timeline("4 requests", answers))

    assert sorted(styles(picture, "rect")) == ["bad", "c0", "c0", "c1", "ground"]
    assert {"webpod1", "2 of 4", "webpod2", "no answer", "1 of 4"} <= set(texts(picture))


def test_few_services_have_rows_of_their_own(world: World) -> None:
    other = Target("10.200.1.99", 9000)
    answers = Answers(
        (
            *world.answers("webpod1"),
            *(replace(answer, target=other) for answer in world.answers("webpod1")),
        )
    )

    shown = texts(drawn(pictures.timeline("2", answers, {"10.200.1.99:9000": "affinity-plain"})))

    assert "10.200.1.17:9000: webpod1" in shown
    assert "affinity-plain: webpod1" in shown


def test_names_from_a_cluster_are_escaped(world: World) -> None:
    picture = drawn(pictures.timeline("<script>", world.answers("<b>&", "<b>&")))

    assert "<b>&" in texts(picture)


@pytest.mark.parametrize("requests", [2, 3, 1000])
def test_any_number_of_requests_fits(world: World, requests: int) -> None:
    picture = drawn(pictures.timeline("x", world.answers(*ENDPOINTS * requests)))

    boxes = [box for box in picture.iter(f"{SVG}rect") if box.get("class") != "ground"]
    assert len(boxes) == 3 * requests  # answers alternate, so no two are drawn as one bar
    assert all(0 <= float(box.get("x", -1)) <= pictures.WIDTH - float(box.get("width", 0)) for box in boxes)


def test_thousands_of_requests_are_drawn_as_bars(world: World) -> None:
    answers = world.answers(*["webpod1"] * 2000, *["webpod2"] * 1000)

    picture = drawn(pictures.timeline("x", answers))

    widths = [float(box.get("width", 0)) for box in picture.iter(f"{SVG}rect") if box.get("class") != "ground"]
    assert len(widths) == 2
    assert widths[0] == pytest.approx(2 * widths[1], rel=0.01)


def test_a_distribution_has_counts_and_the_allowed_band() -> None:
    verdict = judge_spread({"webpod1": 97, "webpod2": 104, "webpod3": 99}, ENDPOINTS, 1e-7)

    picture = drawn(pictures.spread("300 requests", verdict))

    low, high = verdict.band
    assert styles(picture, "rect") == ["ground", "band", "c0", "c1", "c2"]
    assert any(text.startswith(f"{low} to {high} allowed") for text in texts(picture))
    assert "104 (34.7 %)" in texts(picture)


def test_counts_outside_the_band_and_of_unknown_endpoints_are_marked() -> None:
    verdict = judge_spread({"webpod1": 200, "webpod2": 100, "stranger": 3}, ENDPOINTS, 1e-7)

    picture = drawn(pictures.spread("300 requests", verdict))

    assert styles(picture, "rect").count("bad") == 3


def test_clients_are_lines_with_the_timeout_between_their_dots() -> None:
    kept, moved = (
        EntryLifetime("affinity-a", ((0, "webpod1"), (28.97, "webpod1"))),
        EntryLifetime("b", ((0, "webpod1"), (31.1, "webpod2"))),
    )

    picture = drawn(pictures.lifelines("2 clients", [kept, moved], 30))

    shown = texts(picture)
    assert {"T - 1 s", "T = 30 s", "T + 1 s", "stayed with webpod1, 28.97 s", "moved to webpod2, 31.10 s"} <= set(shown)
    timeout, *_ = [float(line.get("x1", 0)) for line in picture.iter(f"{SVG}line") if line.get("class") == "s-bad"]
    dots = [float(dot.get("cx", 0)) for dot in picture.iter(f"{SVG}circle")]
    assert dots[1] < timeout < dots[3]


def test_with_a_renewal_the_timeout_without_it_is_marked_too() -> None:
    renewed = EntryLifetime("a", ((-10, "webpod1"), (0, "webpod1"), (21, "webpod1")))

    shown = texts(drawn(pictures.lifelines("1 client", [renewed], 30)))

    assert {"T without renewal", "T = 30 s"} <= set(shown)


def test_a_timeout_beyond_the_picture_is_not_drawn() -> None:
    shown = texts(drawn(pictures.lifelines("1", [EntryLifetime("a", ((0, "webpod1"), (31, "no answer")))], 10800)))

    assert not any(text.startswith("T ") for text in shown)
    assert "no answer, 31.00 s" in shown
