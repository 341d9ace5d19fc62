from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from deepdiva.data.measuring import Measured, measure, pixel_digest

STAMP = (1, 2, 3, 4)


def encoded(array: np.ndarray, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


def look(*contents: bytes):
    return measure([(str(place), None) for place in range(len(contents))], lambda n: (contents[int(n)], ("f", STAMP)))


def one(content: bytes) -> Measured:
    (found,) = look(content).images
    assert isinstance(found, Measured)
    return found


def noise(*shape: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(5)).integers(0, 256, shape, dtype=np.uint8)


# Counted together, counted by Pillow, and signed by a sample.
SIZES = [(20, 30), (90, 100), (300, 280)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bands", [1, 3])
def test_levels_are_counted_exactly(size, bands):
    images = [noise(*size) if bands == 1 else noise(*size, 3), noise(7, 5) if bands == 1 else noise(7, 5, 3)]
    counts = look(*map(encoded, images)).levels[None, bands == 3]
    pixels = np.concatenate([image.reshape(-1, bands) for image in images])
    assert counts.tolist() == [np.bincount(pixels[:, band], minlength=256).tolist() for band in range(bands)]


@pytest.mark.parametrize("size", SIZES)
def test_facts_of_an_image(size):
    gray, blank = noise(*size), np.full((*size, 3), (9, 8, 7), dtype=np.uint8)
    found = one(encoded(gray))
    assert found[:7] == (*size, "PNG", "L", False, False, False)
    assert one(encoded(blank))[4:7] == (True, False, True)
    assert one(encoded(np.stack([gray] * 3, axis=2)))[4:7] == (True, True, False)
    assert one(encoded(noise(*size, 3)))[4:7] == (True, False, False)


@pytest.mark.parametrize("size", SIZES)
def test_equal_pixels_have_equal_signatures(size):
    gray = noise(*size)
    colour = np.stack([gray] * 3, axis=2)
    same = [encoded(gray), encoded(gray, compress_level=1), encoded(gray, "BMP"), encoded(colour)]
    assert len({one(content).signature for content in same}) == 1
    assert len({pixel_digest(content) for content in same}) == 1
    other = gray.copy()
    other[0, 0] ^= 1
    others = [encoded(other), encoded(gray.T), encoded(noise(*size, 3)), encoded(gray[:, ::-1])]
    assert len({one(content).signature for content in [same[0], *others]}) == 5
    assert len({pixel_digest(content) for content in [same[0], *others]}) == 5


def test_what_cannot_be_read_is_told_and_still_hashed():
    def read(name: str):
        if name == "0":
            raise PermissionError(13, "Permission denied")
        return b"text", ("f", STAMP)

    found = measure([("0", None), ("1", None)], read)
    assert found.images == [
        "cannot be read: Permission denied",
        "cannot be read as an image: its format is not known",
    ]
    assert found.hashes == [None, ("f", STAMP)]
    assert found.levels == {}
