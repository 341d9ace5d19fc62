"""The page about a data set: one HTML file that holds everything it shows, to be read without a network."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepdiva.visualization.charts import histogram, level_curves, series_colours, stacked_bars

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_CLASSES = 60
MOST_LISTED = 40
IMBALANCED = 10
PIXELATED = 48
"""Images whose longer side is below this are shown enlarged, pixel by pixel."""


def data_page(analysis: Mapping[str, Any], examples: Mapping[str, Sequence[str]], pictures: Mapping[str, Image]) -> str:
    """The page as text.

    Args:
        analysis: What `deepdiva data analyze --json` prints.
        examples: For every class the names of images that show what it is like.
        pictures: Small versions of these and of duplicates, by name.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": lambda value: f"{value:,}", "bytes": bytes_text, "decimal": lambda v: f"{v:.6f}"}
    template = environment.from_string(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    parts = analysis["parts"]
    shown = analysis["classes"][:MOST_CLASSES]
    return template.render(
        data=analysis,
        findings=findings(analysis),
        legend=list(zip([part["name"] for part in parts], series_colours(len(parts)), strict=True)),
        class_chart=stacked_bars(shown, {part["name"]: part["classes"][: len(shown)] for part in parts}, width=1040),
        classes_left_out=len(analysis["classes"]) - len(shown),
        height_chart=_spread_chart(analysis["heights"]),
        width_chart=_spread_chart(analysis["widths"]),
        aspect_chart=_spread_chart(analysis["aspect_ratios"], form=".2f"),
        level_charts=[(part["name"], level_curves(part["levels"])) for part in parts],
        examples=[
            (label, [_tile(name, pictures[name]) for name in names if name in pictures])
            for label, names in examples.items()
        ],
        duplicates=_rows(analysis["duplicates"], pictures),
        most_listed=MOST_LISTED,
    )


def findings(analysis: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What deserves attention, worst first: `bad`, `fair` or `good`, what it is, and what it means."""
    duplicates = analysis["duplicates"]
    crossing = sum(len(set(one["splits"])) > 1 for one in duplicates)
    doubtful = sum(len(set(one["classes"])) > 1 for one in duplicates)
    ratio, sizes = _imbalance(analysis), analysis["different_sizes"]
    missing = sum(count == 0 for part in analysis["parts"] for count in part["classes"])
    gray = analysis["gray_in_rgb"]
    counted = [
        ("bad", len(analysis["unreadable"]), "unreadable file{s}", "training stops there"),
        ("bad", crossing, "image{s} in several splits", "what is tested was learned"),
        ("bad", len(analysis["straddling"]), "group{s} in several splits", "what is tested resembles what was learned"),
        ("bad", doubtful, "image{s} in several classes", "at least one of the labels is wrong"),
        ("bad", missing, "time{s} a class without images in a split", "it cannot be learned or tested there"),
        ("fair", len(duplicates) - crossing, "image{s} more than once in a split", "they count several times"),
        ("fair", len(analysis["blank"]), "blank image{s}", "all pixels are the same"),
        ("fair", sizes if sizes > 1 else 0, "different size{s}", "training needs one: --size"),
        ("fair", gray, "gray image{s} stored in colour", "--channels gray reads a third"),
    ]
    found = [
        (grade, f"{count:,} {what.format(s='' if count == 1 else 's')}", meaning)
        for grade, count, what, meaning in counted
        if count
    ]
    if ratio > IMBALANCED:
        what = f"the largest class has {ratio:,.0f} times the images of the smallest"
        found.append(("fair", what, "--class-weights balanced lets them count the same"))
    return found or [("good", "nothing unusual", "no duplicates, no leaks, no unreadable files")]


def data_uri(image: Image) -> str:
    """An image as an address that holds it: PNG where small, JPEG beyond."""
    buffer = io.BytesIO()
    small = max(image.size) <= PIXELATED
    image.save(buffer, "PNG" if small else "JPEG", **({} if small else {"quality": 82}))
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def bytes_text(size: float) -> str:
    """A number of bytes in the unit that suits it."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _spread_chart(spread: Mapping[str, Any], *, form: str = ".0f") -> str:
    return histogram(spread["edges"], spread["counts"], form=form)


def _tile(name: str, image: Image) -> dict[str, Any]:
    return {"name": _plain(name), "uri": data_uri(image), "pixelated": max(image.size) <= PIXELATED}


def _rows(duplicates: Sequence[Mapping[str, Any]], pictures: Mapping[str, Image]) -> list[dict[str, Any]]:
    """The duplicates to list, those across splits and classes first."""

    def weight(found: Mapping[str, Any]) -> tuple[bool, bool]:
        return len(set(found["splits"])) < 2, len(set(found["classes"])) < 2

    rows = []
    for found in sorted(duplicates, key=weight)[:MOST_LISTED]:
        first = pictures.get(found["files"][0])
        across = [what for what, key in (("splits", "splits"), ("classes", "classes")) if len(set(found[key])) > 1]
        rows.append(
            {
                "tile": None if first is None else _tile(found["files"][0], first),
                "files": [_plain(name) for name in found["files"][:8]],
                "more": max(0, len(found["files"]) - 8),
                "across": across,
                "same": "files" if found["same_bytes"] else "pixels",
            }
        )
    return rows


def _imbalance(analysis: Mapping[str, Any]) -> float:
    totals = [sum(counts) for counts in zip(*(part["classes"] for part in analysis["parts"]), strict=True)]
    return max(totals) / max(1, min(totals)) if totals else 1.0


def _plain(name: str) -> str:
    """A name that any page can hold: bytes that are no text are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()
