"""Plain PNG and JPEG files handed to Pillow's decoders directly, past its reading of headers in Python.

Pillow spends half of a small file's time on what nobody asks for here. What is not quite plain is left to it.
"""

from __future__ import annotations

import zlib
from functools import cache
from struct import Struct, error, unpack_from
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
ORIENTATION = 0x0112
UPRIGHT = 1

IDLE_CHUNKS = frozenset({b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tIME", b"bKGD", b"sBIT"})
"""What may stand in a PNG and changes nothing in its pixels as Pillow reads them."""
GRAY, COLOUR = 0, 2
TELLING_TEXTS = (b"Raw profile", b"XML:com")
"""Texts in which a PNG may hide how the camera was turned."""

FRAMES = frozenset({0xC0, 0xC1, 0xC2})
IDLE_SEGMENTS = frozenset({0xC4, 0xDB, 0xDD, 0xE0, 0xEE, 0xFE})
"""Tables, restarts, JFIF, Adobe, comment: nothing there that the decoder would not find by itself."""
APP1, APP2, SCAN = 0xE1, 0xE2, 0xDA
EXIF = b"Exif\0\0"
BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
SHORT = 3

_CHUNK = Struct(">I4s")
_CHECK = Struct(">I")
_HEAD = Struct(">II5B")
_SEGMENT = Struct(">BBH")
_FRAME = Struct(">BHHB")


def open_plain(content: bytes) -> Image | None:
    """The image in a file, in mode L or RGB, exactly as `PIL.Image.open` gives it; None where it must be asked.

    That is the case for every file that is not an upright PNG or JPEG with 8 bits for gray or for each of three
    colours, or that is damaged in any way.
    """
    try:
        if content.startswith(PNG):
            return _png(content)
        if content.startswith(JPEG):
            return _jpeg(content)
    except (error, LookupError, ValueError, TypeError, OSError, SyntaxError, MemoryError, OverflowError):
        # Pillow itself shall say what is wrong with it.
        pass
    return None


def _png(content: bytes) -> Image | None:
    place, data, head = len(PNG), [], None
    while True:
        size, name = _CHUNK.unpack_from(content, place)
        start, end = place + _CHUNK.size, place + _CHUNK.size + size
        if zlib.crc32(content[place + 4 : end]) != _CHECK.unpack_from(content, end)[0]:
            return None
        if name == b"IDAT":
            data.append(content[start:end])
        elif name == b"IHDR":
            head = _HEAD.unpack_from(content, start) if head is None and size == _HEAD.size else None
        elif name == b"IEND":
            break
        elif name not in IDLE_CHUNKS and (name != b"tEXt" or content.startswith(TELLING_TEXTS, start)):
            return None
        place = end + _CHECK.size
    if head is None or head[2:] not in ((8, GRAY, 0, 0, 0), (8, COLOUR, 0, 0, 0)):
        return None
    mode = "L" if head[3] == GRAY else "RGB"
    return _decoded(mode, head[:2], data[0] if len(data) == 1 else b"".join(data), "zip", mode)


def _jpeg(content: bytes) -> Image | None:
    place, frame, written = 2, None, []
    while True:
        fill, marker, size = _SEGMENT.unpack_from(content, place)
        start, end = place + _SEGMENT.size, place + 2 + size
        if fill != 0xFF or size < 2:
            return None
        if marker == SCAN:
            break
        if marker in FRAMES and frame is None:
            frame = _FRAME.unpack_from(content, start)
        elif marker == APP1:
            written.append(content[start:end])
        elif marker not in IDLE_SEGMENTS and not (marker == APP2 and content.startswith(b"ICC_PROFILE\0", start)):
            return None
        place = end
    if frame is None or frame[0] != 8 or frame[3] not in (1, 3) or (written and not _is_upright(written)):
        return None
    _, height, width, bands = frame
    if bands == 1:
        return _decoded("L", (width, height), content, "jpeg", "L", "")
    return _decoded("RGB", (width, height), content, "jpeg", _raw_colours(), "")


def _is_upright(segments: list[bytes]) -> bool:
    """Whether what a camera or a program wrote into a file says nothing of an orientation but that it is right."""
    found = [segment[len(EXIF) :] for segment in segments if segment.startswith(EXIF)]
    in_words = any(b"Orientation" in segment for segment in segments if not segment.startswith(EXIF))
    return len(found) < 2 and not in_words and all(map(_is_upright_exif, found))


def _is_upright_exif(content: bytes) -> bool:
    order = BYTE_ORDERS[content[:4]]
    (place,) = unpack_from(f"{order}I", content, 4)
    (count,) = unpack_from(f"{order}H", content, place)
    tags = (unpack_from(f"{order}HHIH", content, place + 2 + 12 * number) for number in range(count))
    return all(tag[1:] == (SHORT, 1, UPRIGHT) for tag in tags if tag[0] == ORIENTATION)


def _decoded(mode: str, size: tuple[int, int], data: bytes, name: str, *settings: str) -> Image | None:
    from PIL import Image

    pixels = size[0] * size[1]
    if not pixels or (Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS):
        return None  # Pillow warns of images that are suspiciously large
    image = Image.new(mode, size, None)  # every pixel will be written: none need be cleared
    image.frombytes(data, name, *settings)
    return image


@cache
def _raw_colours() -> str:
    """The layout in which libjpeg hands over colours: with a fourth byte where it can, as Pillow keeps them."""
    from PIL import features

    return "RGBX" if features.check("libjpeg_turbo") else "RGB"
