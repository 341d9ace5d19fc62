"""Learning curves as a picture, drawn with matplotlib once a run ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from deepdiva.visualization.palette import FAINT, INK, LINE, class_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Series = tuple[npt.ArrayLike, npt.ArrayLike]
Floats = npt.NDArray[np.float64]

# Which of the class colours a split has, so that it is the same in every panel and every picture.
_SPLITS = {"train": 0, "val": 3, "test": 2}
MANY = 150


def learning_curves(series: Mapping[str, Series], *, title: str = "Learning curves") -> Image.Image:
    """One panel for each metric, one line for each split: `train/loss` and `val/loss` share the panel `loss`.

    A curve of more than 150 values is drawn faintly, with its running mean on top. Values that are not finite leave
    gaps.

    Args:
        series: For each tag its steps and its values, both (N,).
        title: Line above the picture.

    Returns:
        An RGB picture, three panels wide at most.
    """
    # No pyplot: it keeps figures and a backend for the whole process. Importing takes half a second, hence here.
    from matplotlib import rc_context, rcParamsDefault
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = _panels(series)
    columns = min(3, max(1, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    # The user's own matplotlib settings must not reach (or break) the record of a run.
    settings = {
        name: value for name, value in rcParamsDefault.items() if not name.startswith(("backend", "interactive"))
    }
    with rc_context(settings):
        figure = Figure(figsize=(4.4 * columns, 3.0 * rows + 0.5), dpi=100)
        figure.set_layout_engine("constrained", w_pad=0.14, h_pad=0.12)
        canvas = FigureCanvasAgg(figure)
        figure.suptitle(
            title, x=0.14 / figure.get_figwidth(), ha="left", fontsize=12.5, fontweight="bold", color=_hex(INK)
        )
        for place, (metric, lines) in enumerate(panels.items()):
            _draw_panel(figure.add_subplot(rows, columns, place + 1), metric, lines)
        canvas.draw()  # type: ignore[no-untyped-call]
        return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # type: ignore[no-untyped-call]


def _panels(series: Mapping[str, Series]) -> dict[str, dict[str, tuple[Floats, Floats]]]:
    """Metric → split → steps and values; a tag without a slash is a metric of no split."""
    panels: dict[str, dict[str, tuple[Floats, Floats]]] = {}
    for tag, (steps, values) in series.items():
        split, slash, metric = tag.partition("/")
        split, metric = (split, metric) if slash else ("", tag)
        x, y = np.asarray(steps, dtype=np.float64).ravel(), np.asarray(values, dtype=np.float64).ravel()
        if x.shape != y.shape:
            raise ValueError(f"'{tag}' has {len(x)} steps and {len(y)} values")
        panels.setdefault(metric, {})[split] = x, np.where(np.isfinite(y), y, np.nan)
    return panels


def _draw_panel(axes: Axes, metric: str, lines: Mapping[str, tuple[Floats, Floats]]) -> None:
    axes.set_title(metric, loc="left", fontsize=10.5, color=_hex(INK))
    axes.set_xlabel("step", fontsize=9, color=_hex(FAINT))
    axes.tick_params(labelsize=8.5, colors=_hex(FAINT), length=3)
    axes.grid(visible=True, color=_hex(LINE), linewidth=0.6, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_hex(LINE))
    if _spans_decades([values for _, values in lines.values()]):
        axes.set_yscale("log")
    colours = class_colours(8).tolist()
    others = iter([1, 4, 5, 6, 7] * len(lines))
    for split, (steps, values) in lines.items():
        colour = _hex(tuple(colours[_SPLITS[split] if split in _SPLITS else next(others)]))
        _draw_line(axes, split or metric, steps, values, colour)
    if any(lines):
        axes.legend(frameon=False, fontsize=9, labelcolor=_hex(INK))


def _draw_line(axes: Axes, name: str, steps: Floats, values: Floats, colour: str) -> None:
    if len(values) > MANY:
        axes.plot(steps, values, color=colour, linewidth=0.7, alpha=0.3)
        axes.plot(steps, _running_mean(values), color=colour, linewidth=1.6, label=name)
    else:
        marker = "o" if len(values) <= 30 else ""
        axes.plot(steps, values, color=colour, linewidth=1.6, marker=marker, markersize=3.5, label=name)


def _running_mean(values: Floats) -> Floats:
    """Mean over the neighbourhood of each value, a fiftieth of the curve wide; it leaves gaps out."""
    places = np.arange(len(values))
    # Narrower towards both ends: a one-sided mean would bend the curve there.
    half = np.minimum(max(1, len(values) // 100), np.minimum(places, places[::-1]))
    known = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    low, high = places - half, places + half + 1
    number = counts[high] - counts[low]
    means: Floats = np.where(known & (number > 0), (sums[high] - sums[low]) / np.maximum(number, 1), np.nan)
    return means


def _spans_decades(curves: list[Floats]) -> bool:
    """Whether all values are positive and so far apart that only a logarithmic axis shows the small ones."""
    values = np.concatenate(curves) if curves else np.zeros(0)
    values = values[np.isfinite(values)]
    return bool(len(values) and values.min() > 0 and math.log10(values.max() / values.min()) > 2.5)


def _hex(colour: tuple[int, ...]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
