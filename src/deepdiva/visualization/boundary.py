"""The decision surface of a classifier of points in the plane as a picture."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from deepdiva.visualization.lettering import readable, shorten, width_of, write
from deepdiva.visualization.palette import FAINT, INK, LINE, PAPER, Colour, class_colours

Floats = npt.NDArray[np.floating]
Extent = tuple[float, float, float, float]

PLOT = 560
MARGIN = 24
HEADER = 52
LONGEST_NAME = 180
LEGEND_ROWS = 20
PALENESS = 0.6
_SHAPES = ("circle", "diamond", "triangle", "square")


def surface_extent(*clouds: Floats, margin: float = 0.12) -> Extent:
    """The square (x from, x to, y from, y to) around all points of the `clouds`, each (N, 2), with some space around.

    Both axes have the same scale, so that a circle looks like one.
    """
    points = np.concatenate([np.asarray(cloud, dtype=np.float64).reshape(-1, 2) for cloud in clouds])
    points = points[np.isfinite(points).all(axis=1)]
    low, high = (points.min(axis=0), points.max(axis=0)) if len(points) else (np.zeros(2), np.ones(2))
    middle = (low + high) / 2
    half = max(float((high - low).max()) / 2 * (1 + 2 * margin), 1e-6 + 1e-6 * float(np.abs(middle).max()))
    return float(middle[0] - half), float(middle[0] + half), float(middle[1] - half), float(middle[1] + half)


def surface_points(extent: Extent, side: int = 160) -> npt.NDArray[np.float32]:
    """The points to ask a classifier about, (side · side, 2): line by line, from the smallest y and x on.

    Their probabilities, reshaped to (side, side, K), are what `decision_surface` draws.
    """
    left, right, bottom, top = extent
    x, y = np.meshgrid(np.linspace(left, right, side), np.linspace(bottom, top, side))
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def decision_surface(
    probabilities: Floats,
    extent: Extent,
    points: Mapping[str, tuple[Floats, npt.NDArray[np.integer]]],
    classes: Sequence[str],
    *,
    title: str = "Decision surface",
) -> Image.Image:
    """The plane in the colours of the classes, paler where the classifier is less sure, with the points on it.

    Args:
        probabilities: (H, W, K) on an even grid from edge to edge of `extent`; [0, 0] is its lowest y and x.
        extent: x from, x to, y from, y to.
        points: For each split its points (N, 2) and their classes (N,); each split has its own mark.
        classes: K names.
        title: Line above the picture.

    Returns:
        An RGB picture of about 800 by 650 pixels.
    """
    shares = np.asarray(probabilities, dtype=np.float32)
    if shares.ndim != 3 or shares.shape[2] != len(classes) or not len(classes):
        raise ValueError(f"probabilities of shape {shares.shape} do not fit {len(classes)} classes")
    colours = class_colours(len(classes))
    names = [shorten(name, 13, LONGEST_NAME) for name in readable(list(classes))]
    ticks = [_ticks(extent[2], extent[3]), _ticks(extent[0], extent[1])]
    left = MARGIN + max(width_of(text, 12) for _, text in ticks[0]) + 10
    legend = 21 + max(width_of(text, 13) for text in (*names[:LEGEND_ROWS], *points, "and 100 more"))
    canvas = Image.new("RGB", (left + PLOT + MARGIN + legend + MARGIN, HEADER + PLOT + 44), PAPER)
    write(canvas, (MARGIN, 28), title, 17, bold=True)
    plot = _surface(shares, colours)
    layer = _points_layer(tuple(_split_points(*split) for split in points.values()), extent, len(classes))
    plot.paste(layer, (0, 0), layer)
    canvas.paste(plot, (left, HEADER))
    _draw_axes(canvas, left, extent, ticks)
    _draw_legend(canvas, left + PLOT + MARGIN, names, colours, list(points))
    return canvas


def _surface(shares: npt.NDArray[np.float32], colours: npt.NDArray[np.uint8]) -> Image.Image:
    """The plane without points, PLOT × PLOT pixels, with thin lines where the likeliest class changes."""
    # Class by class, (K, H, W), the first line on top: so every reduction runs along whole planes.
    upright = np.ascontiguousarray(np.nan_to_num(shares[::-1]).transpose(2, 0, 1))
    pale = PALENESS * 255 + (1 - PALENESS) * colours.astype(np.float32)
    # Where nothing is sure, all colours mix to a dull gray: there the paper shows through instead.
    sure = ((upright.max(axis=0) * len(upright) - 1) / max(1, len(upright) - 1)).clip(0, 1)[:, :, None]
    # Not `@`: for so little work its threads cost more than they give, and they would disturb those of a training.
    mixed = 255 + (0.25 + 0.75 * sure) * (np.einsum("khw,kc->hwc", upright, pale) - 255)
    plane = Image.fromarray(mixed.clip(0, 255).astype(np.uint8)).resize((PLOT, PLOT), Image.Resampling.BILINEAR)
    likeliest = _likeliest(upright)
    edges = np.zeros((PLOT, PLOT), dtype=bool)
    edges[:-1] |= likeliest[:-1] != likeliest[1:]
    edges[:, :-1] |= likeliest[:, :-1] != likeliest[:, 1:]
    plane.paste(FAINT, (0, 0), Image.fromarray(edges.astype(np.uint8) * 150))
    return plane


def _likeliest(upright: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """The likeliest class of every pixel, (PLOT, PLOT), from probabilities interpolated between the grid's points."""
    best = np.full((PLOT, PLOT), -1.0, dtype=np.float32)
    which = np.zeros((PLOT, PLOT), dtype=np.int16)
    # A class that is nowhere the likeliest on the grid draws no line.
    for place in np.unique(upright.argmax(axis=0)).tolist():
        share = _widen(np.ascontiguousarray(_widen(upright[place].T).T))
        np.copyto(which, place, where=share > best)
        np.maximum(best, share, out=best)
    return which


def _widen(lines: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(size, N) → (PLOT, N), interpolated as PIL's BILINEAR does, which is slow for numbers that are not whole."""
    size = len(lines)
    places = ((np.arange(PLOT) + 0.5) * size / PLOT - 0.5).clip(0, size - 1)
    low = places.astype(np.intp)
    weight = (places - low).astype(np.float32)[:, None]
    widened: npt.NDArray[np.float32] = lines[low] * (1 - weight)
    widened += lines[np.minimum(low + 1, size - 1)] * weight
    return widened


def _split_points(places: Floats, labels: npt.NDArray[np.integer]) -> tuple[bytes, bytes]:
    return np.asarray(places, dtype=np.float64).tobytes(), np.asarray(labels, dtype=np.int64).tobytes()


@functools.lru_cache(maxsize=4)
def _points_layer(splits: tuple[tuple[bytes, bytes], ...], extent: Extent, classes: int) -> Image.Image:
    """All points on a transparent ground, RGBA; kept, because they are the same in every picture of a run."""
    layer = Image.new("RGBA", (PLOT, PLOT), (255, 255, 255, 0))
    for shape, (places, labels) in zip(itertools.cycle(_SHAPES), splits, strict=False):
        points = np.frombuffer(places).reshape(-1, 2)
        _draw_points(layer, points, np.frombuffer(labels, dtype=np.int64), extent, shape, class_colours(classes))
    return layer


def _draw_points(
    layer: Image.Image,
    points: Floats,
    labels: npt.NDArray[np.int64],
    extent: Extent,
    shape: str,
    colours: npt.NDArray[np.uint8],
) -> None:
    left, right, bottom, top = extent
    radius = 5 if len(points) <= 600 else 4 if len(points) <= 3000 else 3
    marks = [_mark(shape, tuple(colour), radius) for colour in colours.tolist()]
    side = marks[0].width
    x = (points[:, 0] - left) / (right - left) * PLOT - side / 2
    y = (top - points[:, 1]) / (top - bottom) * PLOT - side / 2
    inside = (x > -side) & (x < PLOT) & (y > -side) & (y < PLOT)
    columns, rows = np.rint(x[inside]).astype(int).tolist(), np.rint(y[inside]).astype(int).tolist()
    covers = [mark.getchannel("A") for mark in marks]
    # Opaque colours laid through their own coverage: the layer's alpha then adds up as it should where marks overlap.
    inks = [Image.merge("RGBA", (*mark.split()[:3], Image.new("L", mark.size, 255))) for mark in marks]
    for column, row, label in zip(columns, rows, labels[inside].tolist(), strict=True):
        layer.paste(inks[label], (column, row), covers[label])


@functools.lru_cache(maxsize=512)
def _mark(shape: str, colour: Colour, radius: int) -> Image.Image:
    """A small sign in `colour` with a white rim, RGBA, smoothed by drawing it four times as large."""
    side = 2 * radius + 5
    big = Image.new("RGBA", (4 * side, 4 * side), (255, 255, 255, 0))
    pen = ImageDraw.Draw(big)
    for reach, fill in ((radius + 1.25, (255, 255, 255, 255)), (radius, (*colour, 255))):
        pen.polygon(_outline(shape, 2 * side, 4 * reach), fill=fill)
    return big.resize((side, side), Image.Resampling.BOX)


def _outline(shape: str, middle: float, reach: float) -> list[tuple[float, float]]:
    corners, first, scale = {
        "circle": (24, 0.0, 0.9),
        "diamond": (4, 0.0, 1.05),
        "triangle": (3, -math.pi / 2, 1.15),
        "square": (4, math.pi / 4, 1.1),
    }[shape]
    angles = [first + 2 * math.pi * corner / corners for corner in range(corners)]
    return [(middle + scale * reach * math.cos(turn), middle + scale * reach * math.sin(turn)) for turn in angles]


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round numbers between `low` and `high`, and how they are written."""
    rough = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(lead * power for lead in (1, 2, 2.5, 5, 10) if lead * power >= rough)
    count = math.floor(high / step) - math.ceil(low / step) + 1
    values = [(math.ceil(low / step) + place) * step for place in range(count)]
    return [(value, f"{value + 0.0:.10g}".replace("-", "−")) for value in values]


def _draw_axes(canvas: Image.Image, left: int, extent: Extent, ticks: list[list[tuple[float, str]]]) -> None:
    pen = ImageDraw.Draw(canvas)
    bottom = HEADER + PLOT
    pen.rectangle([left - 1, HEADER - 1, left + PLOT, bottom], outline=LINE)
    for value, text in ticks[0]:
        y = bottom - (value - extent[2]) / (extent[3] - extent[2]) * PLOT
        pen.line([(left - 5, y), (left - 2, y)], fill=FAINT)
        write(canvas, (left - 9, y), text, 12, colour=FAINT, align="right")
    for value, text in ticks[1]:
        x = left + (value - extent[0]) / (extent[1] - extent[0]) * PLOT
        pen.line([(x, bottom + 1), (x, bottom + 4)], fill=FAINT)
        write(canvas, (x, bottom + 15), text, 12, colour=FAINT, align="middle")


def _draw_legend(
    canvas: Image.Image, x: int, names: list[str], colours: npt.NDArray[np.uint8], splits: list[str]
) -> None:
    shown = len(names) if len(names) <= LEGEND_ROWS else LEGEND_ROWS - 1
    y = HEADER + 6
    write(canvas, (x, y), "class", 12, colour=FAINT)
    pen = ImageDraw.Draw(canvas)
    for name, colour in zip(names[:shown], colours.tolist(), strict=False):
        y += 22
        pen.rounded_rectangle([x, y - 6, x + 12, y + 6], radius=3, fill=tuple(colour))
        write(canvas, (x + 21, y), name, 13)
    if shown < len(names):
        y += 22
        write(canvas, (x + 21, y), f"and {len(names) - shown} more", 13, colour=FAINT)
    if splits:
        y += 36
        write(canvas, (x, y), "points", 12, colour=FAINT)
    for place, split in enumerate(splits):
        y += 22
        mark = _mark(_SHAPES[place % len(_SHAPES)], INK, 5)
        canvas.paste(mark, (x + 6 - mark.width // 2, y - mark.height // 2), mark)
        write(canvas, (x + 21, y), split, 13)
