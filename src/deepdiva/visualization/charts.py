"""Charts for pages, as SVG: bars and histograms from numbers alone, without any library."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from deepdiva.visualization.palette import FAINT, INK, LINE, class_colours

BAR_HEIGHT = 20
LABEL_WIDTH = 150
NUMBER_WIDTH = 64
LONGEST_LABEL = 22


def css_colour(colour: Sequence[int]) -> str:
    """A colour as pages write it."""
    return "#" + "".join(f"{int(part):02x}" for part in colour)


def series_colours(count: int) -> list[str]:
    """One colour for each of `count` series, those that a legend shows."""
    return [css_colour(colour) for colour in class_colours(count)]


def stacked_bars(labels: Sequence[str], series: Mapping[str, Sequence[int]], *, width: int = 640) -> str:
    """One horizontal bar for every label, made of one piece for each of the series, with the sum behind."""
    sums = [sum(values[place] for values in series.values()) for place in range(len(labels))]
    room = width - LABEL_WIDTH - NUMBER_WIDTH
    scale = room / max([*sums, 1])
    parts = [_text(LABEL_WIDTH, 0, "")] if not labels else []
    for row, (label, total) in enumerate(zip(labels, sums, strict=True)):
        top, x = row * BAR_HEIGHT, float(LABEL_WIDTH)
        parts.append(_text(LABEL_WIDTH - 8, top + 14, _short(label), anchor="end", title=label))
        for (name, values), colour in zip(series.items(), series_colours(len(series)), strict=True):
            length = values[row] * scale
            title = f"{label}, {name}: {values[row]:,}"
            parts.append(_rect(x, top + 3, length, BAR_HEIGHT - 6, colour, title))
            x += length
        parts.append(_text(x + 6, top + 14, f"{total:,}", colour=css_colour(FAINT)))
    return _svg(width, max(1, len(labels)) * BAR_HEIGHT, parts)


def histogram(
    edges: Sequence[float], counts: Sequence[int], *, form: str = ".0f", width: int = 300, height: int = 110
) -> str:
    """Bars over a line of numbers; bins are drawn equally wide, whatever they span.

    Args:
        edges: Borders of the bins, one more than there are counts.
        counts: How many fall into each bin.
        form: How the borders are written.
        width: Of the chart.
        height: Of the chart.
    """
    floor = height - 18
    step = width / max(1, len(counts))
    bar = min(step, 48.0)
    most = max([*counts, 1])
    colour = series_colours(1)[0]
    parts = []
    for place, count in enumerate(counts):
        high = max(count / most * (floor - 6), 1.0 if count else 0.0)
        span = f"{edges[place]:{form}} – {edges[place + 1]:{form}}: {count:,}"
        left = place * step + (step - bar) / 2
        parts.append(_rect(left + 0.5, floor - high, max(bar - 1, 0.5), high, colour, span))
    parts.append(_line(0, floor, width, floor))
    if edges[0] == edges[-1]:
        parts.append(_text(width / 2, height - 4, f"{edges[0]:{form}}", anchor="middle", colour=css_colour(FAINT)))
    else:
        parts.append(_text(0, height - 4, f"{edges[0]:{form}}", colour=css_colour(FAINT)))
        parts.append(_text(width, height - 4, f"{edges[-1]:{form}}", anchor="end", colour=css_colour(FAINT)))
    return _svg(width, height, parts)


def level_curves(channels: Sequence[Sequence[int]], *, width: int = 300, height: int = 110) -> str:
    """How often every level of every channel occurs: gray, or red, green and blue; heights are square roots.

    Square roots, because white paper would leave nothing else to be seen.
    """
    floor = height - 18
    colours = ("#5a6470",) if len(channels) == 1 else ("#d62728", "#2ca02c", "#1f5fd6")
    most = max([*(max(counts) for counts in channels), 1]) ** 0.5
    parts = []
    for counts, colour in zip(channels, colours, strict=True):
        step = width / len(counts)
        shape = " ".join(
            f"{(place + 0.5) * step:.1f},{floor - count**0.5 / most * (floor - 4):.1f}"
            for place, count in enumerate(counts)
        )
        area = f"{step / 2:.1f},{floor} {shape} {width - step / 2:.1f},{floor}"
        parts.append(f'<polygon points="{area}" fill="{colour}" fill-opacity="0.18"/>')
        parts.append(f'<polyline points="{shape}" fill="none" stroke="{colour}" stroke-width="1.2"/>')
    parts.append(_line(0, floor, width, floor))
    parts.append(_text(0, height - 4, "0 black", colour=css_colour(FAINT)))
    parts.append(_text(width, height - 4, "255 white", anchor="end", colour=css_colour(FAINT)))
    return _svg(width, height, parts)


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'font-size="12" font-family="inherit">{"".join(parts)}</svg>'
    )


def _rect(x: float, y: float, width: float, height: float, colour: str, title: str) -> str:
    if width <= 0:
        return ""
    tip = f"<title>{html.escape(title)}</title>"
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="1.5" fill="{colour}">{tip}</rect>'
    )


def _line(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<line x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}" stroke="{css_colour(LINE)}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "", title: str = "") -> str:
    tip = f"<title>{html.escape(title)}</title>" if title != text and title else ""
    fill = colour or css_colour(INK)
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}">{html.escape(text)}{tip}</text>'


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"
