"""Text in pictures: faces, widths, shortening, and text that runs upwards."""

from __future__ import annotations

import functools
import math
import unicodedata
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from deepdiva.visualization.palette import INK, Colour

Face = ImageFont.FreeTypeFont

CAPITALS = 0.73  # height of a capital letter of DejaVu Sans, as a share of its size

# Where systems keep a font with the letters that DejaVu lacks, above all Chinese, Japanese and Korean ones.
_WIDE_FONTS = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/System/Library/Fonts/PingFang.ttc",
    "/System/Library/Fonts/Supplemental/Arial Unicode.ttf",
)


@functools.cache
def face(size: int, *, bold: bool = False) -> Face:
    """The typeface in `size` pixels: DejaVu Sans as matplotlib brings it, else the one inside PIL."""
    # Found, not imported: importing matplotlib would cost half a second.
    spec = find_spec("matplotlib")
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "mpl-data" / "fonts" / "ttf" / name
        if path.is_file():
            return ImageFont.truetype(path, size)
    inner = ImageFont.load_default(size)
    assert isinstance(inner, ImageFont.FreeTypeFont), "PIL without FreeType cannot draw text"
    return inner


def readable(names: list[str]) -> list[str]:
    """Names as one line of text each; a name whose letters no font has here becomes its place, `class 3`."""
    flat = [" ".join(unicodedata.normalize("NFC", name).split()) for name in names]
    return [name if name.isascii() or _face_for(name, 12) else f"class {place}" for place, name in enumerate(flat)]


@functools.lru_cache(maxsize=8192)
def width_of(text: str, size: int, *, bold: bool = False) -> int:
    """Width of `text` in pixels."""
    return math.ceil(_face_of(text, size, bold=bold).getlength(text))


def shorten(text: str, size: int, width: int) -> str:
    """`text`, with its middle cut out (`manu…55`) where it is wider than `width` pixels."""
    if width_of(text, size) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        head = (kept + 1) // 2
        candidate = f"{text[:head].rstrip()}…{text[len(text) - (kept - head) :].lstrip()}"
        if width_of(candidate, size) <= width:
            return candidate
    return f"{text[:1]}…"


def write(
    canvas: Image.Image,
    place: tuple[float, float],
    text: str,
    size: int,
    *,
    colour: Colour = INK,
    align: Literal["left", "middle", "right"] = "left",
    bold: bool = False,
) -> None:
    """Draws `text` in `size` pixels beside `place`, its capitals centred on y.

    Args:
        canvas: RGB picture to draw on.
        place: (x, y).
        text: One line.
        size: Height of the typeface in pixels.
        colour: Colour of the letters.
        align: Which part of the text stands at x.
        bold: Whether the letters are bold.
    """
    stamp = _stamp(text, size, bold=bold)
    x = place[0] - {"left": 0.0, "middle": 0.5, "right": 1.0}[align] * stamp.width
    y = place[1] + CAPITALS / 2 * size
    canvas.paste(colour, (round(x) + stamp.left, round(y) + stamp.top), stamp.mask)


def write_upwards(
    canvas: Image.Image,
    place: tuple[float, float],
    text: str,
    size: int,
    *,
    colour: Colour = INK,
    align: Literal["middle", "right"] = "right",
) -> None:
    """Draws `text` turned to run from bottom to top, its capitals centred on x.

    Args:
        canvas: RGB picture to draw on.
        place: (x, y).
        text: One line.
        size: Height of the typeface in pixels.
        colour: Colour of the letters.
        align: Which part of the text stands at y; `right` is its upper end.
    """
    stamp = _stamp(text, size)
    turned = stamp.mask.transpose(Image.Transpose.ROTATE_90)
    x = place[0] + CAPITALS / 2 * size
    y = place[1] if align == "right" else place[1] - stamp.width / 2
    canvas.paste(colour, (round(x) + stamp.top, round(y)), turned)


@dataclass(frozen=True)
class _Stamp:
    """A text as it is pressed on a picture.

    Args:
        mask: Coverage of the pixels, mode L.
        left: From where the text begins to the mask's left edge.
        top: From the baseline to the mask's upper edge (negative: above).
        width: How far the text reaches.
    """

    mask: Image.Image
    left: int
    top: int
    width: int


@functools.lru_cache(maxsize=4096)
def _stamp(text: str, size: int, *, bold: bool = False) -> _Stamp:
    """Kept, because the same numbers and names come again in every picture and rendering is what costs."""
    font = _face_of(text, size, bold=bold)
    left, top, right, bottom = (int(edge) for edge in font.getbbox(text, anchor="ls"))
    mask = Image.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(mask).text((-left, -top), text, font=font, fill=255, anchor="ls")
    return _Stamp(mask, left, top, width_of(text, size, bold=bold))


def _face_of(text: str, size: int, *, bold: bool = False) -> Face:
    if text.isascii():
        return face(size, bold=bold)
    return _face_for(text, size, bold=bold) or face(size, bold=bold)


@functools.lru_cache(maxsize=4096)
def _face_for(text: str, size: int, *, bold: bool = False) -> Face | None:
    """The first typeface that has every letter of `text`, or None."""
    if all(_has(face(size, bold=bold), letter) for letter in set(text)):
        return face(size, bold=bold)
    for path in _WIDE_FONTS:
        if Path(path).is_file() and all(_has(_wide_face(path, size), letter) for letter in set(text)):
            return _wide_face(path, size)
    return None


@functools.cache
def _wide_face(path: str, size: int) -> Face:
    return ImageFont.truetype(path, size)


@functools.lru_cache(maxsize=4096)
def _has(candidate: Face, letter: str) -> bool:
    # U+FFFF is never a letter: what is drawn for it is drawn for every letter that the typeface lacks.
    return (
        letter.isspace() or letter.isascii() or bytes(candidate.getmask(letter)) != bytes(candidate.getmask("\uffff"))
    )
