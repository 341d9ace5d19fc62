"""What one look at an image file tells: its size and mode, its levels, and a signature that its duplicates share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from deepdiva.data.decode import ImageError, open_picture
from deepdiva.data.files import Hashed, reason
from deepdiva.data.statistics import LEVELS

if TYPE_CHECKING:
    from PIL.Image import Image

Levels = npt.NDArray[np.int64]

COUNTED_TOGETHER = 4096
"""Up to this many bytes images are counted many at a time, which costs less than asking Pillow for each."""

SIGNED_WHOLE = 1 << 16
"""Up to this many bytes a signature is made of all pixels; beyond that of the levels and a sample of the pixels."""

SAMPLE = (32, 32)
SIGNATURE_BYTES = 16


class Measured(NamedTuple):
    """One image.

    Args:
        height: In pixels, upright.
        width: In pixels, upright.
        format: That of the file, such as `PNG`.
        mode: That of the file, such as `RGBA`.
        has_colours: Whether it is read as RGB.
        looks_gray: Whether it is read as RGB although it shows nothing but gray.
        is_blank: Whether all its pixels are the same.
        signature: Equal for equal pixels; beyond `SIGNED_WHOLE` bytes it may be equal for others too.
    """

    height: int
    width: int
    format: str
    mode: str
    has_colours: bool
    looks_gray: bool
    is_blank: bool
    signature: bytes


@dataclass
class Portion:
    """Some images, measured.

    Args:
        images: For each file what was found, or why it cannot be read.
        hashes: Hash of every file that could be read as such.
        levels: How often each level occurs, (1, 256) or (3, 256), by split and whether the images have colours.
    """

    images: list[Measured | str] = field(default_factory=list)
    hashes: list[Hashed | None] = field(default_factory=list)
    levels: dict[tuple[str | None, bool], Levels] = field(default_factory=dict)

    def add_levels(self, split: str | None, counts: Levels) -> None:
        """Counts more pixels."""
        key = (split, len(counts) == 3)
        self.levels[key] = self.levels[key] + counts if key in self.levels else counts


def measure(samples: Sequence[tuple[str, str | None]], read: Callable[[str], tuple[bytes, Hashed]]) -> Portion:
    """Measures some images, each by name and split."""
    portion = Portion()
    small: dict[tuple[str | None, bool], list[bytes]] = {}
    for name, split in samples:
        hashed = None
        try:
            content, hashed = read(name)
            picture = open_picture(content)
        except (OSError, ImageError) as error:
            text = f"cannot be read: {reason(error)}" if isinstance(error, OSError) else str(error)
            portion.images.append(text)
        else:
            image = picture.image
            found, raw, counts = _look(image)
            portion.images.append(Measured(image.height, image.width, picture.format, picture.mode, *found))
            if counts is None:
                small.setdefault((split, image.mode == "RGB"), []).append(raw)
            else:
                portion.add_levels(split, counts)
        portion.hashes.append(hashed)
    for (split, has_colours), pieces in small.items():
        portion.add_levels(split, _count(b"".join(pieces), 3 if has_colours else 1))
    return portion


def pixel_digest(content: bytes) -> bytes:
    """SHA-256 of all pixels of an image file; gray images have the same whether they are stored in gray or RGB."""
    image = open_picture(content).image
    if image.mode == "RGB":
        raw = image.tobytes()
        image = image.getchannel(0) if _is_gray(raw) else image
    return hashlib.sha256(_head(image) + image.tobytes()).digest()


def _look(image: Image) -> tuple[tuple[bool, bool, bool, bytes], bytes, Levels | None]:
    """Colours, gray in RGB, blank and signature; with the pixels of a small image, or the levels of a large one."""
    has_colours = image.mode == "RGB"
    bands = 3 if has_colours else 1
    size = image.height * image.width * bands
    counted = [] if size <= COUNTED_TOGETHER else image.histogram()
    counts = np.fromiter(counted, np.int64, len(counted)).reshape(bands, LEVELS) if counted else None
    if counts is not None and size > SIGNED_WHOLE:
        # Only equal levels can be equal pixels, so that most pictures need no closer look.
        alike = has_colours and counted[:LEVELS] == counted[LEVELS:-LEVELS] and _is_gray(image.tobytes())
        shown = image.getchannel(0) if alike else image
        is_blank = counted.count(size // bands) == bands
        parts = (counts[:1] if alike else counts).tobytes() + shown.resize(SAMPLE, 0).tobytes()
        return (has_colours, alike, is_blank, _signature(shown, parts)), b"", counts
    raw = image.tobytes()
    alike = has_colours and _is_gray(raw)
    shown = image.getchannel(0) if alike else image
    is_blank = raw == raw[:bands] * (size // bands)
    return (has_colours, alike, is_blank, _signature(shown, raw[::3] if alike else raw)), raw, counts


def _is_gray(raw: bytes) -> bool:
    red = raw[::3]
    return red == raw[1::3] and red == raw[2::3]


def _head(image: Image) -> bytes:
    return f"{image.mode} {image.height} {image.width} ".encode()


def _signature(image: Image, content: bytes) -> bytes:
    return hashlib.sha256(_head(image) + content).digest()[:SIGNATURE_BYTES]


def _count(raw: bytes, bands: int) -> Levels:
    pixels = np.frombuffer(raw, dtype=np.uint8).reshape(-1, bands)
    return np.stack([np.bincount(pixels[:, band], minlength=LEVELS) for band in range(bands)])
