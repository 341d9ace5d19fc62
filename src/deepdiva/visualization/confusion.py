"""The confusion matrix as a picture: what went right in blue, what went wrong in orange."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from deepdiva.visualization.lettering import readable, shorten, width_of, write, write_upwards
from deepdiva.visualization.palette import EMPTY, FAINT, LINE, PAPER, ink_on, right_ramp, wrong_ramp

Matrix = npt.NDArray[np.float64]

LONGEST_LABEL = 170
LARGEST_SIDE = 1000
MARGIN = 24
HEADER = 68
BAR_WIDTH = 14
BAR_HEIGHT = 180
_STEPS = [lead * 10**power for power in range(7) for lead in (1, 2, 5)]


@dataclass(frozen=True)
class _Layout:
    """Where everything stands, in pixels.

    Args:
        classes: Number of classes.
        cell: Side of one cell.
        left: Where the matrix begins.
        top: Where the matrix begins.
        side: Side of the whole matrix.
        letter: Size of the class names.
        upwards: Whether the names of the predicted classes run upwards.
        every: Only each `every`-th class is named.
        names: The names of these classes, shortened.
        below: Height of the predicted classes' names.
    """

    classes: int
    cell: int
    left: int
    top: int
    side: int
    letter: int
    upwards: bool
    every: int
    names: list[str]
    below: int


def confusion_matrix_image(
    counts: npt.NDArray[np.integer] | npt.NDArray[np.floating],
    classes: Sequence[str],
    *,
    normalize: bool = False,
    title: str = "Confusion matrix",
) -> Image.Image:
    """The confusion matrix drawn for any number of classes.

    Colours show each cell's share of its true class: on the diagonal in blue, beside it in orange and on a scale
    (square root) that makes few mistakes among many samples visible. Rows without any sample are gray.

    Args:
        counts: (K, K), rows are true classes, columns are predicted classes.
        classes: K names.
        normalize: Write percentages of the true class in the cells, not counts.
        title: Line above the picture.

    Returns:
        An RGB picture, from about 330 pixels (2 classes) to about 1,300 pixels (hundreds of classes) wide.
    """
    table = np.asarray(counts, dtype=np.float64)
    if table.shape != (len(classes), len(classes)) or not len(classes):
        raise ValueError(f"counts of shape {table.shape} do not fit {len(classes)} classes")
    totals = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, totals, out=np.zeros_like(table), where=totals > 0)
    layout = _lay_out(readable(list(classes)))
    cells = _cell_colours(shares, totals[:, 0])
    width = layout.left + layout.side + 2 * MARGIN + 88
    header = _header(table, title)
    width = max(width, MARGIN + max(width_of(line, size, bold=size > 15) for line, size in header) + MARGIN)
    canvas = Image.new("RGB", (width, max(layout.top + layout.side + layout.below, _bars_bottom(layout)) + 44), PAPER)
    _write_header(canvas, header)
    _draw_cells(canvas, cells, layout)
    _write_numbers(canvas, table, shares, cells, layout, normalize=normalize)
    _write_names(canvas, layout)
    _draw_bars(canvas, layout)
    return canvas


def _lay_out(names: list[str]) -> _Layout:
    count = len(names)
    cell = min(88, max(18, 520 // count)) if count <= 50 else max(1, LARGEST_SIDE // count)
    side = min(max(cell * count, 1), LARGEST_SIDE)
    letter = 13 if cell >= 18 else max(9, min(12, cell))
    every = 1 if cell >= 10 else next(step for step in _STEPS if step * side >= 13 * count)
    labels = [shorten(name, letter, LONGEST_LABEL) for name in names[::every]]
    longest = max(width_of(label, letter) for label in labels)
    upwards = longest > every * side / count - 6
    return _Layout(
        classes=count,
        cell=cell,
        left=MARGIN + 26 + longest + 8,
        top=HEADER + 20,
        side=side,
        letter=letter,
        upwards=upwards,
        every=every,
        names=labels,
        below=8 + (longest if upwards else letter),
    )


def _cell_colours(shares: Matrix, totals: Matrix) -> npt.NDArray[np.uint8]:
    """(K, K, 3)."""
    colours: npt.NDArray[np.uint8] = wrong_ramp()[np.rint(np.sqrt(shares) * 255).astype(np.intp)]
    diagonal = np.arange(len(shares))
    colours[diagonal, diagonal] = right_ramp()[np.rint(shares[diagonal, diagonal] * 255).astype(np.intp)]
    colours[totals == 0] = EMPTY
    return colours


def _header(table: Matrix, title: str) -> list[tuple[str, int]]:
    samples, right = table.sum(), np.trace(table)
    share = f"{100 * right / samples:.2f} % correct · " if samples else ""
    return [(title, 17), (f"{share}{right:,.0f} of {samples:,.0f} samples", 13)]


def _write_header(canvas: Image.Image, header: list[tuple[str, int]]) -> None:
    (title, title_size), (summary, size) = header
    write(canvas, (MARGIN, 30), title, title_size, bold=True)
    write(canvas, (MARGIN, 53), summary, size, colour=FAINT)


def _draw_cells(canvas: Image.Image, cells: npt.NDArray[np.uint8], layout: _Layout) -> None:
    whole = Image.fromarray(cells)
    resample = Image.Resampling.NEAREST if len(cells) <= layout.side else Image.Resampling.BOX
    canvas.paste(whole.resize((layout.side, layout.side), resample), (layout.left, layout.top))
    pen = ImageDraw.Draw(canvas)
    right, bottom = layout.left + layout.side, layout.top + layout.side
    if layout.cell >= 6:
        for place in range(layout.cell, layout.side, layout.cell):
            pen.line([(layout.left + place, layout.top), (layout.left + place, bottom)], fill=EMPTY)
            pen.line([(layout.left, layout.top + place), (right, layout.top + place)], fill=EMPTY)
    pen.rectangle([layout.left - 1, layout.top - 1, right, bottom], outline=LINE)


def _write_numbers(
    canvas: Image.Image,
    table: Matrix,
    shares: Matrix,
    cells: npt.NDArray[np.uint8],
    layout: _Layout,
    *,
    normalize: bool,
) -> None:
    if layout.cell < 12:
        return
    rows, columns = np.nonzero(table)
    values = (100 * shares if normalize else table)[rows, columns]
    texts = [_percentage(value) if normalize else _count(value) for value in values]
    size = _number_size(texts, layout.cell)
    if size == 0:
        return
    grounds = cells[rows, columns].tolist()
    for row, column, text, ground in zip(rows.tolist(), columns.tolist(), texts, grounds, strict=True):
        x = layout.left + (column + 0.5) * layout.cell
        y = layout.top + (row + 0.5) * layout.cell
        write(canvas, (x, y), text, size, colour=ink_on(tuple(ground)), align="middle")


def _number_size(texts: list[str], cell: int) -> int:
    """The largest size from 15 down in which every text fits its cell, 0 where even 9 is too large."""
    widest = max(texts, key=lambda text: width_of(text, 9), default="")
    return next((size for size in range(min(15, cell - 4), 8, -1) if width_of(widest, size) <= cell - 3), 0)


def _percentage(value: float) -> str:
    return "<0.1" if 0 < value < 0.05 else f"{value:.1f}".removesuffix(".0")


def _count(value: float) -> str:
    if value != round(value):
        return f"{value:.3g}"
    return f"{value:.0f}" if value < 100_000 else f"{value / 1000:.0f}k"


def _write_names(canvas: Image.Image, layout: _Layout) -> None:
    bottom = layout.top + layout.side
    for place, name in enumerate(layout.names):
        middle = (place * layout.every + 0.5) * layout.side / layout.classes
        write(canvas, (layout.left - 8, layout.top + middle), name, layout.letter, align="right")
        if layout.upwards:
            write_upwards(canvas, (layout.left + middle, bottom + 6), name, layout.letter)
        else:
            write(canvas, (layout.left + middle, bottom + 14), name, layout.letter, align="middle")
    half = layout.side / 2
    write_upwards(canvas, (MARGIN + 6, layout.top + half), "true class", 13, colour=FAINT, align="middle")
    write(canvas, (layout.left + half, bottom + layout.below + 20), "predicted class", 13, colour=FAINT, align="middle")


def _bars_bottom(layout: _Layout) -> int:
    return layout.top + 2 * 22 + 2 * _bar_height(layout) + 28


def _bar_height(layout: _Layout) -> int:
    return max(48, min(BAR_HEIGHT, (layout.side - 3 * 22) // 2))


def _draw_bars(canvas: Image.Image, layout: _Layout) -> None:
    """The two scales: share of the true class that was recognised, and that was mistaken for another."""
    height = _bar_height(layout)
    x = layout.left + layout.side + MARGIN
    for name, ramp, power, top in (
        ("right", right_ramp(), 1.0, layout.top),
        ("wrong", wrong_ramp(), 0.5, layout.top + height + 22 + 28),
    ):
        write(canvas, (x, top + 4), name, 12, colour=FAINT)
        first = top + 22
        column = ramp[np.linspace(255, 0, height).round().astype(np.intp)][:, None]
        canvas.paste(Image.fromarray(column).resize((BAR_WIDTH, height)), (x, first))
        pen = ImageDraw.Draw(canvas)
        pen.rectangle([x - 1, first - 1, x + BAR_WIDTH, first + height], outline=LINE)
        for percent in (0, 50, 100) if power == 1.0 else (0, 10, 50, 100):
            y = first + round((height - 1) * (1 - (percent / 100) ** power))
            pen.line([(x + BAR_WIDTH + 1, y), (x + BAR_WIDTH + 4, y)], fill=FAINT)
            write(canvas, (x + BAR_WIDTH + 8, y), f"{percent} %", 11)
