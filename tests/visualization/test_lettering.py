"""Text in pictures: fitting, standing where it is put, letters no font has."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from PIL import Image

from deepdiva.visualization.lettering import readable, shorten, width_of, write, write_upwards


@pytest.mark.parametrize("text", ["Nymphalis polychloros", "ab", "a", "", "Ελληνικά κείμενα του μεσαίωνα"])
@pytest.mark.parametrize("width", [5, 40, 80, 500])
def test_shortened_text_fits_and_keeps_both_ends(text: str, width: int) -> None:
    short = shorten(text, 13, width)
    if width_of(text, 13) <= width:
        assert short == text
    elif width >= 40:
        assert width_of(short, 13) <= width
        assert "…" in short
        assert short[0] == text[0]
        assert short[-1] == text[-1]


def test_names_become_one_line_that_can_be_drawn() -> None:
    names = readable(["two\nlines", "  spaces  ", "Gänseblümchen", "буква Ж", "\U0001f99c\ue123"])
    assert names == ["two lines", "spaces", "Gänseblümchen", "буква Ж", "class 4"]


def test_decomposed_letters_are_composed() -> None:
    assert readable(["a\u0308"]) == ["ä"]


def ink(canvas: Image.Image) -> tuple[int, int, int, int]:
    box = Image.eval(canvas.convert("L"), lambda value: 255 - value).getbbox()
    assert box is not None
    return box


def test_text_stands_where_it_is_put() -> None:
    boxes = {}
    alignments: tuple[Literal["left", "middle", "right"], ...] = ("left", "middle", "right")
    for align in alignments:
        canvas = Image.new("RGB", (200, 60), "white")
        write(canvas, (100, 30), "HEIH", 14, align=align)
        boxes[align] = ink(canvas)
    assert 100 <= boxes["left"][0] <= 103
    assert 97 <= boxes["right"][2] <= 101
    assert abs(boxes["middle"][0] + boxes["middle"][2] - 200) <= 3
    assert abs(boxes["middle"][1] + boxes["middle"][3] - 60) <= 2


def test_upward_text_is_the_same_text_turned() -> None:
    across, upwards = Image.new("RGB", (100, 100), "white"), Image.new("RGB", (100, 100), "white")
    write(across, (50, 50), "turn me", 13, align="middle")
    write_upwards(upwards, (50, 50), "turn me", 13, align="middle")
    left, top, right, bottom = ink(upwards)
    turned_back = upwards.crop((left, top, right, bottom)).transpose(Image.Transpose.ROTATE_270)
    np.testing.assert_array_equal(np.asarray(turned_back), np.asarray(across.crop(ink(across))))


@pytest.mark.parametrize("text", ["", " "])
def test_empty_text_draws_nothing(text: str) -> None:
    canvas = Image.new("RGB", (30, 30), "white")
    write(canvas, (15, 15), text, 12)
    write_upwards(canvas, (15, 15), text, 12)
    assert canvas.getcolors() == [(900, (255, 255, 255))]
