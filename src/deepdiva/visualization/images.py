"""Images side by side with a line or two of text under each, such as a classifier's worst mistakes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from deepdiva.visualization.lettering import readable, shorten, width_of, write
from deepdiva.visualization.palette import FAINT, INK, LINE, PAPER, Colour

Pixels = npt.NDArray[np.uint8]

MARGIN = 24
GAP = 14
LETTER = 13
LINE_HEIGHT = 18
LEAST_TILE = 112
LARGEST_TILE = 240
WRONG: Colour = (176, 58, 2)


def worst_mistakes(
    images: Sequence[Pixels] | Pixels,
    truths: npt.NDArray[np.integer],
    predictions: npt.NDArray[np.integer],
    confidences: npt.NDArray[np.floating],
    classes: Sequence[str],
    *,
    limit: int = 24,
    title: str = "Worst mistakes",
) -> Image.Image:
    """The wrongly classified images that the classifier was surest about, the surest first.

    Under each stand the true class, the predicted class and the confidence. All samples are given, right and wrong.

    Args:
        images: (N, C, H, W), 0 … 255, or N images (C, H, W); only those that are shown are read.
        truths: True class indices (N,).
        predictions: Predicted class indices (N,).
        confidences: Probabilities of the predicted classes (N,).
        classes: Names of all classes.
        limit: How many are shown at most.
        title: Line above the picture.
    """
    chosen = surest_mistakes(truths, predictions, confidences, limit=limit)
    wrong = int((np.asarray(truths) != np.asarray(predictions)).sum())
    names = readable(list(classes))
    captions = [
        ((names[truth], INK), (f"→ {names[guess]}", WRONG), (f"{100 * confidence:.1f} % sure", FAINT))
        for truth, guess, confidence in zip(truths[chosen], predictions[chosen], confidences[chosen], strict=True)
    ]
    if not captions:
        return _tiles([], [], title, f"none among {len(truths):,} samples", columns=1)
    shown = f"the {len(chosen)} surest of {wrong:,}" if wrong > len(chosen) else f"all {wrong:,}"
    summary = f"{shown}: true class, → predicted class"
    return _tiles([images[place] for place in chosen.tolist()], captions, title, summary, columns=6)


def surest_mistakes(
    truths: npt.NDArray[np.integer],
    predictions: npt.NDArray[np.integer],
    confidences: npt.NDArray[np.floating],
    *,
    limit: int = 24,
) -> npt.NDArray[np.intp]:
    """Places of the wrong predictions, the surest first (equally sure ones in the order given), at most `limit`."""
    wrong = np.flatnonzero(np.asarray(truths) != np.asarray(predictions))
    order = np.argsort(-np.nan_to_num(np.asarray(confidences, dtype=np.float64)[wrong]), kind="stable")
    return wrong[order[:limit]]


def grid(
    images: Sequence[Pixels] | Pixels, captions: Sequence[str] = (), *, columns: int = 8, title: str = "Images"
) -> Image.Image:
    """Images in rows, with a caption under each where captions are given.

    Args:
        images: Each (C, H, W), 0 … 255; they may differ in size.
        captions: One line for each image, or none at all.
        columns: Images in a row.
        title: Line above the picture.
    """
    if captions and len(captions) != len(images):
        raise ValueError(f"{len(captions)} captions do not fit {len(images)} images")
    lines = [((caption, INK),) for caption in readable(list(captions))]
    summary = "1 image" if len(images) == 1 else f"{len(images):,} images"
    return _tiles(list(images), lines or [()] * len(images), title, summary, columns=columns)


def to_picture(image: Pixels) -> Image.Image:
    """An image array (C, H, W) as an RGB picture of the same size.

    One channel is gray, three are red, green and blue, four have opacity in addition and are laid on white; of any
    other number the first three, or the first, are shown.
    """
    channels = len(image)
    if channels == 4:
        ground = Image.new("RGBA", (image.shape[2], image.shape[1]), (*PAPER, 255))
        ground.alpha_composite(Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))))
        return ground.convert("RGB")
    if channels >= 3:
        return Image.fromarray(np.ascontiguousarray(image[:3].transpose(1, 2, 0)))
    return Image.fromarray(np.ascontiguousarray(image[0])).convert("RGB")


def _tiles(
    images: list[Pixels],
    captions: Sequence[Sequence[tuple[str, Colour]]],
    title: str,
    summary: str,
    *,
    columns: int,
) -> Image.Image:
    """A header and the images in tiles of one size, each with its lines of text in their colours."""
    pictures = [to_picture(image) for image in images]
    side = _tile_side(pictures)
    pictures = [_fit(picture, side) for picture in pictures]
    tile = (
        max([LEAST_TILE, *(picture.width for picture in pictures)]),
        max([1, *(picture.height for picture in pictures)]),
    )
    columns = max(1, min(columns, len(images)))
    rows = -(-len(images) // columns)
    height = tile[1] + LINE_HEIGHT * max((len(lines) for lines in captions), default=0) + GAP
    header = max(width_of(title, 17, bold=True), width_of(summary, LETTER))
    width = max(columns * (tile[0] + GAP) - GAP, header) + 2 * MARGIN
    canvas = Image.new("RGB", (width, 74 + rows * height + (MARGIN - GAP if rows else 0)), PAPER)
    write(canvas, (MARGIN, 30), title, 17, bold=True)
    write(canvas, (MARGIN, 53), summary, LETTER, colour=FAINT)
    for place, (picture, lines) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(place, columns)
        _draw_tile(canvas, (MARGIN + column * (tile[0] + GAP), 76 + row * height), picture, lines, tile)
    return canvas


def _tile_side(pictures: list[Image.Image]) -> int:
    """The longer side of all images in the grid, a whole multiple of the largest one where that is small."""
    largest = max((max(picture.size) for picture in pictures), default=LEAST_TILE)
    if largest >= LEAST_TILE:
        return min(largest, LARGEST_TILE)
    return largest * -(-LEAST_TILE // largest)


def _draw_tile(
    canvas: Image.Image,
    corner: tuple[int, int],
    picture: Image.Image,
    lines: Sequence[tuple[str, Colour]],
    tile: tuple[int, int],
) -> None:
    left, top = corner
    x, y = left, top + (tile[1] - picture.height) // 2
    canvas.paste(picture, (x, y))
    ImageDraw.Draw(canvas).rectangle([x - 1, y - 1, x + picture.width, y + picture.height], outline=LINE)
    for number, (text, colour) in enumerate(lines):
        middle = top + tile[1] + 12 + number * LINE_HEIGHT
        write(canvas, (left, middle), shorten(text, LETTER, tile[0]), LETTER, colour=colour)


def _fit(picture: Image.Image, tile: int) -> Image.Image:
    """The picture enlarged by a whole number, so that its pixels stay square and crisp, or shrunk smoothly."""
    largest = max(picture.size)
    if largest <= tile:
        factor = tile // largest
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    size = tuple(max(1, round(side * tile / largest)) for side in picture.size)
    return picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
