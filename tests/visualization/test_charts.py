from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from deepdiva.visualization.charts import histogram, level_curves, stacked_bars

SPACE = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def widths(svg: str) -> list[float]:
    return [float(rect.get("width")) for rect in parsed(svg).iter(f"{SPACE}rect")]


def test_bars_are_as_long_as_their_numbers():
    one, two, other = widths(stacked_bars(["a", "b"], {"train": [30, 10], "test": [10, 0]}))
    assert one == pytest.approx(3 * two, abs=0.2)
    assert other == pytest.approx(two, abs=0.2)


def test_labels_are_escaped_and_shortened():
    svg = stacked_bars(["<b> & " + "x" * 40], {"train": [1]})
    parsed(svg)
    assert "&lt;b&gt; &amp; xxxxxxxxxxxxx…" in svg or "…" in svg
    assert "<b>" not in svg


def test_every_chart_can_be_drawn_of_nothing():
    for svg in (stacked_bars([], {}), histogram((1.0, 1.0), (0,)), level_curves([[0] * 256])):
        parsed(svg)


def test_a_histogram_has_a_bar_for_every_bin_that_holds_something():
    svg = histogram((0.0, 1.0, 2.0, 3.0), (5, 0, 10), form=".1f")
    heights = [float(rect.get("height")) for rect in parsed(svg).iter(f"{SPACE}rect")]
    assert heights[2] == pytest.approx(2 * heights[0], abs=0.2)
    assert "2.0 – 3.0: 10" in svg


def test_levels_have_a_curve_for_every_channel():
    assert len(list(parsed(level_curves([[1] * 256] * 3)).iter(f"{SPACE}polyline"))) == 3
