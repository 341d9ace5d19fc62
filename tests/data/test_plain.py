"""Plain files are read as Pillow reads them, and the others are left to it."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from deepdiva.data.decode import open_picture
from deepdiva.data.plain import open_plain

ROTATED = {0x0112: 6}
UPRIGHT = {0x0112: 1}


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)  # type: ignore[arg-type]
    return file.getvalue()


def picture(mode: str, width: int = 37, height: int = 23) -> Image.Image:
    random = np.random.Generator(np.random.PCG64(width))
    coarse = random.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def exif(tags: dict[int, int]) -> bytes:
    made = Image.Exif()
    made.update(tags)
    return made.tobytes()


def text(key: str) -> PngImagePlugin.PngInfo:
    made = PngImagePlugin.PngInfo()
    made.add_text(key, "something")
    return made


def chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")


def short_png() -> bytes:
    """A PNG of three rows whose data end after one: Pillow takes the rest to be black."""
    head = (2).to_bytes(4, "big") + (3).to_bytes(4, "big") + bytes((8, 0, 0, 0, 0))
    rows = zlib.compress(bytes((0, 7, 8)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PLAIN = {
    "png gray": lambda: saved(picture("L"), "PNG"),
    "png colour": lambda: saved(picture("RGB"), "PNG"),
    "png of many chunks": lambda: saved(picture("RGB", 700, 500), "PNG", compress_level=0),
    "png with a resolution": lambda: saved(picture("L"), "PNG", dpi=(300, 300)),
    "png with a text": lambda: saved(picture("L"), "PNG", pnginfo=text("Software")),
    "png without all its rows": short_png,
    "jpeg gray": lambda: saved(picture("L"), "JPEG"),
    "jpeg 4:2:0": lambda: saved(picture("RGB"), "JPEG", subsampling="4:2:0"),
    "jpeg 4:2:2": lambda: saved(picture("RGB", 40, 31), "JPEG", subsampling="4:2:2", quality=97),
    "jpeg 4:4:4": lambda: saved(picture("RGB"), "JPEG", subsampling="4:4:4", quality=30),
    "jpeg large": lambda: saved(picture("RGB", 640, 481), "JPEG", restart_marker_rows=1),
    "jpeg progressive": lambda: saved(picture("RGB", 300, 200), "JPEG", progressive=True, comment="a comment"),
    "jpeg in red, green and blue": lambda: saved(picture("RGB"), "JPEG", keep_rgb=True),
    "jpeg of a camera": lambda: saved(picture("RGB"), "JPEG", exif=exif(UPRIGHT)),
    "jpeg with exif of something else": lambda: saved(picture("RGB"), "JPEG", exif=exif({0x0110: 3})),
    "jpeg with a profile": lambda: saved(picture("RGB"), "JPEG", icc_profile=bytes(300)),
    "jpeg with other words": lambda: saved(picture("RGB"), "JPEG", xmp=b"<x:xmpmeta/>"),
}

OTHERS = {
    "png with transparency": lambda: saved(picture("RGBA"), "PNG"),
    "png gray with one transparent": lambda: saved(picture("L"), "PNG", transparency=3),
    "png with a palette": lambda: saved(picture("P"), "PNG"),
    "png of one bit": lambda: saved(picture("1"), "PNG"),
    "png of sixteen bits": lambda: saved(picture("L").convert("I;16"), "PNG"),
    "png that is turned": lambda: saved(picture("L"), "PNG", exif=exif(ROTATED)),
    "png with a telling text": lambda: saved(picture("L"), "PNG", pnginfo=text("Raw profile type x")),
    "jpeg that is turned": lambda: saved(picture("RGB"), "JPEG", exif=exif(ROTATED)),
    "jpeg that is turned in words": lambda: saved(picture("L"), "JPEG", xmp=b'<x tiff:Orientation="6"/>'),
    "jpeg of four inks": lambda: saved(picture("CMYK"), "JPEG"),
    "bmp": lambda: saved(picture("RGB"), "BMP"),
    "gif": lambda: saved(picture("L"), "GIF"),
    "no image": lambda: b"some words",
}


@pytest.mark.parametrize("name", PLAIN)
def test_pixels_mode_and_format_are_those_of_pillow(name: str) -> None:
    content = PLAIN[name]()
    found = open_plain(content)
    with Image.open(io.BytesIO(content)) as expected:
        expected.load()
        assert found is not None
        assert (found.mode, found.size, found.tobytes()) == (expected.mode, expected.size, expected.tobytes())
        picked = open_picture(content)
        assert (picked.mode, picked.format, picked.image.tobytes()) == (
            expected.mode,
            expected.format,
            expected.tobytes(),
        )


@pytest.mark.parametrize("name", PLAIN)
def test_further_work_on_the_image_gives_the_same(name: str) -> None:
    """The fourth byte of a colour, which nobody sees, is as Pillow leaves it."""
    content = PLAIN[name]()
    found = open_plain(content)
    with Image.open(io.BytesIO(content)) as expected:
        assert found is not None
        assert found.histogram() == expected.histogram()
        for work in (lambda image: image.resize((9, 9)), lambda image: image.convert("RGBA"), lambda image: image):
            assert work(found).tobytes() == work(expected).tobytes()


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_plain_is_left_to_pillow(name: str) -> None:
    assert open_plain(OTHERS[name]()) is None


@pytest.mark.parametrize("name", ["png colour", "jpeg 4:2:0", "jpeg of a camera"])
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_as_pillow_has_them(name: str) -> None:
    """Cut anywhere, or with any byte changed: never another image than Pillow's, and never one where it refuses."""
    whole = PLAIN[name]()
    random = np.random.Generator(np.random.PCG64(3))
    damaged = [whole[:size] for size in random.integers(0, len(whole), 60)]
    for place in random.integers(0, len(whole), 200):
        damaged.append(whole[:place] + bytes((int(random.integers(256)),)) + whole[place + 1 :])
    for content in damaged:
        found = open_plain(content)
        if found is None:
            continue
        with Image.open(io.BytesIO(content)) as expected:
            assert found.tobytes() == expected.tobytes()


def test_images_that_are_suspiciously_large_are_left_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved(picture("L"), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 37 * 23)
    assert open_plain(content) is not None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 37 * 23 - 1)
    assert open_plain(content) is None
