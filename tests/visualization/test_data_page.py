from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from PIL import Image

from deepdiva.visualization.data_page import bytes_text, data_page, data_uri, findings

SPREAD = {"minimum": 1.0, "maximum": 2.0, "median": 1.5, "edges": [1.0, 1.5, 2.0], "counts": [3, 1]}


def part(name: str, classes: list[int]) -> dict[str, Any]:
    return {
        "name": name,
        "images": sum(classes),
        "pixels": 100,
        "mean": [0.25],
        "std": [0.5],
        "levels": [[1] * 256],
        "classes": classes,
    }


@pytest.fixture
def analysis() -> dict[str, Any]:
    return {
        "source": "pets <b>",
        "root": "f00d",
        "images": 20,
        "size": 12345,
        "other_files": 2,
        "channels": "gray",
        "classes": ["cat", "dog"],
        "parts": [part("train", [9, 7]), part("test", [2, 2])],
        "modes": {"L": 20},
        "formats": {"PNG": 20},
        "gray": 20,
        "gray_in_rgb": 0,
        "sizes": [[8, 9, 20]],
        "different_sizes": 1,
        "heights": SPREAD,
        "widths": SPREAD,
        "aspect_ratios": SPREAD,
        "blank": [],
        "unreadable": [],
        "duplicates": [],
        "group_by": None,
        "groups": 0,
        "straddling": [],
    }


class Reader(HTMLParser):
    """Collects what a page refers to, and fails on tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_the_page_holds_all_that_it_shows(analysis):
    pictures = {"1.png": Image.new("L", (8, 8)), "2.png": Image.new("RGB", (100, 60))}
    page = data_page(analysis, {"cat": ["1.png", "gone.png"], "dog": ["2.png"]}, pictures)
    sources = read(page).sources
    assert len(sources) == 2
    assert all(source.startswith("data:image/") for source in sources)
    assert "http" not in page.replace("http-equiv", "")
    assert "pets &lt;b&gt;" in page
    assert "pets <b>" not in page


def test_troubles_are_shown(analysis):
    duplicate = {"files": ["a.png", "\udcff.png"], "splits": ["train", "test"], "classes": ["cat", "cat"]}
    analysis |= {
        "duplicates": [duplicate | {"same_bytes": True}],
        "unreadable": [{"file": "bad.png", "reason": "is an empty file"}],
        "blank": ["white.png"],
        "group_by": r"^(w\d)",
        "groups": 4,
        "straddling": [{"group": "w1", "samples": {"train": 3, "test": 1}}],
    }
    page = data_page(analysis, {}, {})
    read(page)
    page.encode()
    for text in ("bad.png", "is an empty file", "white.png", "across splits", "\\udcff.png", "w1", "train 3"):
        assert text in page


def test_findings_are_graded(analysis):
    assert findings(analysis) == [("good", "nothing unusual", "no duplicates, no leaks, no unreadable files")]
    analysis["parts"][1]["classes"] = [4, 0]
    analysis["blank"] = ["1", "2"]
    analysis["parts"][0]["classes"] = [900, 7]
    assert [(grade, what) for grade, what, _ in findings(analysis)] == [
        ("bad", "1 time a class without images in a split"),
        ("fair", "2 blank images"),
        ("fair", "the largest class has 129 times the images of the smallest"),
    ]


def test_small_images_lose_nothing():
    assert data_uri(Image.new("L", (8, 8))).startswith("data:image/png")
    assert data_uri(Image.new("RGB", (80, 8))).startswith("data:image/jpeg")


def test_bytes_are_written_in_a_unit_that_suits():
    assert [bytes_text(size) for size in (12, 1234, 5e6, 7e9, 8e12)] == ["12 B", "1.2 KB", "5.0 MB", "7.0 GB", "8.0 TB"]
