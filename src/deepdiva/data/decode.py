"""Image files of any mode turned into 8-bit gray or RGB arrays, by rules that do not depend on the picture."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deepdiva.data.plain import JPEG, ORIENTATION, PNG, open_plain
from deepdiva.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = npt.NDArray[np.uint8]

CHANNELS = ("auto", "gray", "rgb")
EXTENSIONS = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm"}
)
SIGNATURES = {PNG: ("PNG",), JPEG: ("JPEG", "MPO")}
SIXTEEN_BITS = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
GRAY_WITH_ALPHA = frozenset({"1", "L", "LA"})
MAY_BE_TRANSPARENT = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})
COLOUR = frozenset({"RGBX", "CMYK", "YCbCr", "LAB", "HSV"})


class ImageError(Exception):
    """An image that cannot be read, and why."""


@dataclass(frozen=True)
class Decoding:
    """How files become arrays.

    | mode of the file | becomes |
    |-|-|
    | 1 bit, 8-bit gray | gray, black 0 and white 255 |
    | 16-bit gray (`I;16…`; `I` with values 0 … 65535) | gray; 65535 becomes 255: divided by 257, rounded |
    | float gray (`F`) with values 0 … 1 | gray; 1 becomes 255, rounded |
    | `I` or `F` with other values | refused: it is not known what is white |
    | RGB (with 16 bits a channel: the upper 8) | RGB |
    | palette | RGB; gray where all its pixels are gray |
    | gray, palette or RGB with transparency | the same laid on white, as it looks on paper |
    | CMYK, YCbCr, LAB, HSV | RGB by Pillow's formulas; colour profiles are not applied |

    The orientation that a camera wrote (EXIF) is applied. Of several frames the first counts. What becomes gray or
    RGB follows from the mode, not from the picture (palettes excepted): an RGB file without colours is RGB.

    Args:
        channels: `gray` (colours by the luma of ITU-R 601), `rgb` (gray three times), or `auto`: as the file is.
        size: Height and width to bring every image to, without regard to its aspect ratio (bilinear, smoothed when
            made smaller); None leaves images as they are.
    """

    channels: str = "auto"
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.channels not in CHANNELS:
            raise UserError(f"channels {self.channels!r} are not known", f"one of {', '.join(CHANNELS)}")
        if self.size is not None and min(self.size) < 1:
            raise UserError(f"images cannot have the size {self.size[0]} x {self.size[1]}", "give 1 or more")

    def decode(self, content: bytes) -> Pixels:
        """The image in `content`, a file's bytes: (H, W) gray or (H, W, 3) RGB.

        Raises:
            ImageError: It cannot be read.
        """
        with _explained():
            image = _open(content).image
            if self.channels != "auto":
                image = image.convert("L" if self.channels == "gray" else "RGB")
            if self.size is not None and (image.height, image.width) != self.size:
                from PIL.Image import Resampling

                image = image.resize((self.size[1], self.size[0]), Resampling.BILINEAR)
            # A copy: the picture's own memory goes away with it.
            return np.array(image, dtype=np.uint8)


class Picture(NamedTuple):
    """An image upright and in mode L or RGB, with the format and the mode that its file has."""

    image: Image
    format: str
    mode: str


def open_picture(content: bytes) -> Picture:
    """The image in `content`, a file's bytes, as `Decoding()` reads it.

    Raises:
        ImageError: It cannot be read.
    """
    with _explained():
        return _open(content)


def _open(content: bytes) -> Picture:
    from PIL import Image, ImageOps

    if not content:
        raise ImageError("is an empty file")
    plain = open_plain(content)
    if plain is not None:
        return Picture(plain, "PNG" if content.startswith(PNG) else "JPEG", plain.mode)
    # Pillow tries about forty formats in turn unless it is told which one it is.
    formats = next((names for head, names in SIGNATURES.items() if content.startswith(head)), None)
    with Image.open(io.BytesIO(content), formats=formats) as opened:
        opened.load()
        turned = opened.getexif().get(ORIENTATION, 1) != 1
        image = gray_or_rgb(ImageOps.exif_transpose(opened) if turned else opened)
        return Picture(image, opened.format or "?", opened.mode)


@contextmanager
def _explained() -> Iterator[None]:
    """Turns whatever a decoder raises into an `ImageError`."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        # Damaged bytes make decoders raise nearly anything: SyntaxError, struct.error, EOFError, MemoryError….
        raise ImageError(f"cannot be read as an image: {_reason(error)}") from error


def planar(image: Pixels, channels: int) -> Pixels:
    """An image (H, W) or (H, W, 3) as (C, H, W); a gray one is repeated where `channels` is 3."""
    planes = image[np.newaxis] if image.ndim == 2 else image.transpose(2, 0, 1)
    return np.ascontiguousarray(planes if len(planes) == channels else np.repeat(planes, channels, axis=0))


def decoder() -> str:
    """What decodes here; other versions may give other pixels (of JPEG, mostly)."""
    import PIL
    from PIL import features

    libraries = {name: features.version(name) for name in ("libjpeg_turbo", "jpg", "webp", "libtiff")}
    return ", ".join([f"Pillow {PIL.__version__}", *(f"{name} {version}" for name, version in libraries.items())])


def gray_or_rgb(image: Image) -> Image:
    """The image in mode L or RGB, by the rules of `Decoding`."""
    if image.mode in SIXTEEN_BITS or image.mode == "I":
        return _from_array(_sixteen_to_eight(np.asarray(image)))
    if image.mode == "F":
        return _from_array(_float_to_eight(np.asarray(image)))
    if image.has_transparency_data and image.mode in MAY_BE_TRANSPARENT:
        flat = _on_white(image)
        return flat.convert("L") if image.mode in GRAY_WITH_ALPHA or _gray_palette(image, flat) else flat
    if image.mode in ("L", "RGB"):
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("P", "PA"):
        flat = image.convert("RGB")
        return flat.convert("L") if _gray_palette(image, flat) else flat
    if image.mode in COLOUR:
        return image.convert("RGB")
    raise ImageError(f"has the mode {image.mode}, for which no conversion is defined")


def _sixteen_to_eight(values: npt.NDArray[Any]) -> Pixels:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(f"has values from {low} to {high}, and what is white is not known (save it with 8 or 16 bits)")
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _float_to_eight(values: npt.NDArray[Any]) -> Pixels:
    low, high = float(values.min()), float(values.max())
    # Written so that NaN is refused as well.
    if not (low >= 0.0 and high <= 1.0):
        raise ImageError(f"has values from {low:g} to {high:g} where 0 to 1 is understood (save it with 8 or 16 bits)")
    return np.rint(values.astype(np.float64) * 255).astype(np.uint8)


def _on_white(image: Image) -> Image:
    from PIL import Image as images

    picture = image.convert("RGBA")
    return images.alpha_composite(images.new("RGBA", picture.size, (255, 255, 255, 255)), picture).convert("RGB")


def _gray_palette(image: Image, flat: Image) -> bool:
    """Whether an image with a palette shows nothing but gray."""
    if image.mode not in ("P", "PA"):
        return False
    pixels = np.asarray(flat)
    return bool((pixels == pixels[..., :1]).all())


def _from_array(values: Pixels) -> Image:
    from PIL import Image

    return Image.fromarray(values)


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        # Pillow's own words name an object in memory here.
        return "its format is not known"
    return str(error) or type(error).__name__
