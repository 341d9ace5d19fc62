"""Document images without the blank margins around what is written on them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from deepdiva.data.decode import EXTENSIONS, ImageError, gray_or_rgb
from deepdiva.data.files import existing_folder, in_threads, printable, reason, to_errors
from deepdiva.data.footprint import Recorder
from deepdiva.data.new_folder import new_folder
from deepdiva.data.plain import ORIENTATION
from deepdiva.errors import Problem, UserError

if TYPE_CHECKING:
    from PIL.Image import Image

LOSSLESS: dict[str, dict[str, Any]] = {"webp": {"lossless": True}, "tiff": {"compression": "tiff_deflate"}}
KEPT = ("dpi", "icc_profile", "exif", "transparency")
CHUNK = 16


@dataclass(frozen=True)
class Cropped:
    """What was done.

    Args:
        images: Number of images.
        cropped: How many of them became smaller.
        blank: Names of images without anything on them, which were kept as they are.
        framed: Names of images of several frames or pages, which were kept as they are.
        others: Number of other files, which were copied.
        pixels_before: Pixels of all images.
        pixels_after: Pixels of all images without their margins.
    """

    images: int
    cropped: int
    blank: tuple[str, ...]
    framed: tuple[str, ...]
    others: int
    pixels_before: int
    pixels_after: int


@dataclass(frozen=True)
class _Result:
    """One image: its new content, or why it stays as it is."""

    name: str
    before: int
    after: int
    is_blank: bool = False
    is_framed: bool = False


def remove_whitespace(
    path: Path, target: Path, *, threshold: int = 240, margin: int = 0, threads: int | None = None
) -> Cropped:
    """Writes the data set at `path` to the new folder `target`, every image without the blank margins around it.

    A pixel is blank when it is as light as `threshold` or lighter, from 0 (black) to 255 (white). Format, mode,
    resolution and colour profile stay; JPEG files are encoded once more with their own tables. An image with nothing
    to crop keeps its bytes, and so does every file that is no image.

    Args:
        path: The data set; it is not changed.
        target: The new folder.
        threshold: The darkest value that is blank.
        margin: Pixels of the margin that stay on each side.
        threads: How many work at the same time; None takes as many as there are cores.

    Raises:
        UserErrors: Images that cannot be read, all of them.
        UserError: A number that makes no sense, or a folder that cannot be made.
    """
    if not 1 <= threshold <= 255:
        raise UserError(f"threshold {threshold} is no shade of gray", "give 1 (all but black is blank) to 255")
    if margin < 0:
        raise UserError(f"margin {margin} is negative", "give the number of pixels that stay on each side")
    recorder = Recorder(existing_folder(path, expected="a folder with images, in folders of any depth"))
    names = [name for name in recorder.names if is_image(name)]
    if not names:
        raise UserError(f"{printable(str(path))} holds no images", "images have extensions such as .png, .jpg or .tif")
    with new_folder(target, apart_from=path) as folder:
        for name in recorder.names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        crop = _Cropper(recorder, folder, threshold, margin)
        results: list[_Result] = []
        problems = [trouble.problem for trouble in recorder.troubles]
        for part in in_threads(crop, _chunks(recorder.names), threads=threads):
            results += [item for item in part if isinstance(item, _Result)]
            problems += [item for item in part if isinstance(item, Problem)]
        if problems:
            raise to_errors(problems, f"{len(problems)} files in {printable(str(path))} cannot be used")
    return _summary(results, len(recorder.names) - len(results))


def is_image(name: str) -> bool:
    """Whether a name is that of an image: by its extension, and not hidden."""
    parts = PurePosixPath(name)
    return parts.suffix.lower() in EXTENSIONS and not any(part.startswith(".") for part in parts.parts)


def box_of_ink(image: Image, *, threshold: int, margin: int = 0) -> tuple[int, int, int, int] | None:
    """Left, upper, right and lower end of what is darker than `threshold`, with a margin; None for a blank image."""
    ink = np.asarray(gray_or_rgb(image).convert("L")) < threshold
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return None
    left, right = int(columns[0]) - margin, int(columns[-1]) + 1 + margin
    upper, lower = int(rows[0]) - margin, int(rows[-1]) + 1 + margin
    return max(0, left), max(0, upper), min(image.width, right), min(image.height, lower)


@dataclass(frozen=True)
class _Cropper:
    """Writes some of the files of a data set to their new place."""

    recorder: Recorder
    folder: Path
    threshold: int
    margin: int

    def __call__(self, names: Sequence[str]) -> list[_Result | Problem | None]:
        return [self._one(name) for name in names]

    def _one(self, name: str) -> _Result | Problem | None:
        try:
            content = self.recorder.read(name)
        except OSError as error:
            return Problem(f"cannot be read: {reason(error)}", printable(name))
        result: _Result | None = None
        if is_image(name):
            try:
                result, content = self._crop(name, content)
            except Exception as error:
                # Damaged bytes make decoders raise nearly anything.
                text = str(error) if isinstance(error, ImageError) else f"cannot be read as an image: {error}"
                return Problem(text, printable(name))
        (self.folder / name).write_bytes(content)
        return result

    def _crop(self, name: str, content: bytes) -> tuple[_Result, bytes]:
        from PIL import Image

        with Image.open(io.BytesIO(content)) as image:
            pixels = image.width * image.height
            if getattr(image, "n_frames", 1) > 1:
                return _Result(name, pixels, pixels, is_framed=True), content
            image.load()
            box = box_of_ink(image, threshold=self.threshold, margin=self.margin)
            if box is None:
                return _Result(name, pixels, pixels, is_blank=True), content
            if box == (0, 0, image.width, image.height):
                return _Result(name, pixels, pixels), content
            left, upper, right, lower = box
            return _Result(name, pixels, (right - left) * (lower - upper)), _encoded(image, image.crop(box))


def _encoded(original: Image, cropped: Image) -> bytes:
    """A part of an image in the image's own format, with what its file said besides."""
    from PIL import Image

    assert original.format is not None
    kind = original.format.lower()
    settings: dict[str, Any] = dict(LOSSLESS.get(kind, {}))
    settings |= {name: original.info[name] for name in KEPT if name in original.info}
    if kind == "jpeg":
        from PIL import JpegImagePlugin

        settings.pop("transparency", None)
        sampling = JpegImagePlugin.get_sampling(original)
        settings |= {"qtables": getattr(original, "quantization", None)} | (
            {"subsampling": sampling} if sampling >= 0 else {}
        )
    turn = original.getexif().get(ORIENTATION, 1)
    if "exif" not in settings and turn != 1:
        settings["exif"] = Image.Exif()
        settings["exif"][ORIENTATION] = turn
    buffer = io.BytesIO()
    cropped.save(buffer, original.format, **settings)
    return buffer.getvalue()


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), CHUNK):
        yield names[start : start + CHUNK]


def _summary(results: Sequence[_Result], others: int) -> Cropped:
    return Cropped(
        images=len(results),
        cropped=sum(result.after < result.before for result in results),
        blank=tuple(result.name for result in results if result.is_blank),
        framed=tuple(result.name for result in results if result.is_framed),
        others=others,
        pixels_before=sum(result.before for result in results),
        pixels_after=sum(result.after for result in results),
    )
