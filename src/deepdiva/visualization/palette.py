"""Colours that stay apart for colour-blind readers, and the ink that can be read on them."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

Colour = tuple[int, int, int]
Colours = npt.NDArray[np.uint8]

INK: Colour = (28, 32, 38)
FAINT: Colour = (108, 114, 124)
LINE: Colour = (205, 209, 215)
PAPER: Colour = (255, 255, 255)
EMPTY: Colour = (240, 241, 243)

# Okabe and Ito's six brighter colours, then each time the colour that is farthest (in OKLab, seen with normal,
# protan, deutan and tritan eyes as simulated by Machado et al. 2009) from all before it. Found once, offline.
# fmt: off
_CLASSES = (
    "0072B2", "E69F00", "009E73", "D55E00", "CC79A7", "56B4E9", "5A0F00", "2D0087",
    "4BF0C3", "962D5A", "000FE1", "A569FF", "C3E13C", "C30F00", "96C387", "A5D2FF",
    "C31E96", "4B1E4B", "5A1EA5", "E10FD2", "782D2D", "00D2C3", "965A5A", "2D3C78",
)
# fmt: on

_RIGHT = ("FFFFFF", "DCE9F6", "A6CBE6", "5BA0CF", "2171B5", "084A8C", "08306B")
_WRONG = ("FFFFFF", "FEE3C8", "FDBE85", "FD9243", "E6590C", "B63C02", "7F2704")


def class_colours(count: int) -> Colours:
    """One colour for each of `count` classes, (count, 3); from the 25th class on they come again."""
    rows = [_parse(_CLASSES[place % len(_CLASSES)]) for place in range(count)]
    return np.array(rows, dtype=np.uint8).reshape(count, 3)


@functools.cache
def right_ramp() -> Colours:
    """White to dark blue in 256 steps, (256, 3): a share of what went right."""
    return _ramp(_RIGHT)


@functools.cache
def wrong_ramp() -> Colours:
    """White to dark orange in 256 steps, (256, 3): a share of what went wrong."""
    return _ramp(_WRONG)


@functools.lru_cache(maxsize=1024)
def ink_on(ground: Colour) -> Colour:
    """Dark or white ink, whichever has more contrast on the colour `ground` (WCAG's measure; at least 4.5 : 1)."""
    light = luminance(ground)
    against_white = 1.05 / (light + 0.05)
    against_dark = (light + 0.05) / (luminance(INK) + 0.05)
    return PAPER if against_white > against_dark else INK


def luminance(colour: npt.ArrayLike) -> float:
    """Relative luminance of an sRGB colour, 0 (black) to 1 (white)."""
    part = np.asarray(colour, dtype=np.float64) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def _parse(text: str) -> Colour:
    return int(text[0:2], 16), int(text[2:4], 16), int(text[4:6], 16)


def _ramp(stops: tuple[str, ...]) -> Colours:
    colours = np.array([_parse(stop) for stop in stops], dtype=np.float64)
    steps = np.linspace(0, len(stops) - 1, 256)
    columns = [np.interp(steps, np.arange(len(stops)), colours[:, channel]) for channel in range(3)]
    return np.stack(columns, axis=1).round().astype(np.uint8)
