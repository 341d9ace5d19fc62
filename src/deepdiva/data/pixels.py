"""Arithmetic on batches of 8-bit images (B, C, H, W), one parameter a sample, exact in every bit.

Only single additions, multiplications and comparisons in a fixed order, which IEEE 754 rounds in one way, and no sums
of floats: an image comes out the same whatever batch it is in, however many threads there are, and on every machine.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.int64]

BLOCK = 1 << 15
"""Pixels that are computed at a time, so that what lies between stays in the processor's cache."""

LUMA = (19595, 38470, 7471)
"""Weights of red, green and blue in gray (ITU-R 601), in units of 2**-16, as Pillow has them."""


def crops(images: Pixels, top: Places, left: Places, height: int, width: int) -> Pixels:
    """From every image the part of `height` x `width` pixels whose corner is at (`top`, `left`), each of shape (B,)."""
    if height * width > BLOCK // 8:
        # Large pieces are copied fastest one by one.
        out = np.empty((*images.shape[:2], height, width), dtype=np.uint8)
        for place, (y, x) in enumerate(zip(top.tolist(), left.tolist(), strict=True)):
            out[place] = images[place, :, y : y + height, x : x + width]
        return out
    windows = sliding_window_view(images, (height, width), axis=(2, 3))
    parts: Pixels = windows[np.arange(len(images)), :, top, left]
    return parts


def padded(images: Pixels, before: int, after: int, *, fill: int) -> Pixels:
    """The images with `before` and `after` more rows and columns, all `fill`."""
    count, channels, height, width = images.shape
    out = np.full((count, channels, height + before + after, width + before + after), fill, dtype=np.uint8)
    out[:, :, before : before + height, before : before + width] = images
    return out


def flipped(images: Pixels, chosen: NDArray[np.bool_], *, vertical: bool) -> Pixels:
    """The images, those that are `chosen` mirrored."""
    out = images.copy()
    for place in np.flatnonzero(chosen).tolist():
        out[place] = images[place, :, ::-1] if vertical else images[place, :, :, ::-1]
    return out


def affine(images: Pixels, matrices: Floats, *, fill: int) -> Pixels:
    """The images seen through affine maps, bilinear between pixels.

    Args:
        images: The images.
        matrices: (B, 2, 3); the pixel at (x, y) from the middle of a new image shows the old one at
            `matrix @ (x, y, 1)` from its middle.
        fill: What is seen beyond the edges.
    """
    count, channels, height, width = images.shape
    source = padded(images, 1, 2, fill=fill).reshape(count, channels, -1)
    out = np.empty((count, channels, height * width), dtype=np.uint8)
    size = max(1, BLOCK // (height * width))
    for start in range(0, count, size):
        part = slice(start, start + size)
        _affine(source[part], matrices[part].astype(np.float32), out[part], height, width)
    return out.reshape(images.shape)


def _affine(source: Pixels, matrices: NDArray[np.float32], out: Pixels, height: int, width: int) -> None:
    middle_y, middle_x = np.float32((height - 1) / 2), np.float32((width - 1) / 2)
    x = (np.arange(width, dtype=np.float32) - middle_x)[np.newaxis, np.newaxis, :]
    y = (np.arange(height, dtype=np.float32) - middle_y)[np.newaxis, :, np.newaxis]
    parts = matrices[:, :, :, np.newaxis, np.newaxis]
    # One row and one column beyond the image all is fill: what lies further out looks the same.
    seen_x = np.clip((parts[:, 0, 0] * x + (parts[:, 0, 2] + middle_x)) + parts[:, 0, 1] * y, -1, width)
    seen_y = np.clip((parts[:, 1, 0] * x + (parts[:, 1, 2] + middle_y)) + parts[:, 1, 1] * y, -1, height)
    floor_x, floor_y = np.floor(seen_x), np.floor(seen_y)
    right, below = (seen_x - floor_x).reshape(len(source), -1), (seen_y - floor_y).reshape(len(source), -1)
    row = width + 3
    place = ((floor_y + 1) * row + (floor_x + 1)).astype(np.intp).reshape(len(source), -1)
    for sample in range(len(source)):
        for channel in range(source.shape[1]):
            plane, at = source[sample, channel], place[sample]
            upper = _between(plane.take(at), plane.take(at + 1), right[sample])
            lower = _between(plane.take(at + row), plane.take(at + row + 1), right[sample])
            out[sample, channel] = np.rint(_between(upper, lower, below[sample]))


def _between(one: NDArray[np.number], other: NDArray[np.number], share: NDArray[np.float32]) -> NDArray[np.float32]:
    first = one.astype(np.float32)
    return first + (other.astype(np.float32) - first) * share


def recoloured(images: Pixels, matrices: Floats, offsets: Floats) -> Pixels:
    """Every pixel c as `matrix @ c + offset`, rounded and cut to 0 … 255.

    Args:
        images: The images.
        matrices: (B, C, C), or (B,) for one factor an image.
        offsets: (B,), the same for all channels.
    """
    out = np.empty_like(images)
    for place, image in enumerate(images):
        offset = np.float32(offsets[place])
        values = image.astype(np.float32)
        if matrices.ndim == 1:
            mixed = values * np.float32(matrices[place]) + offset
        else:
            weights = matrices[place].astype(np.float32)
            mixed = np.empty_like(values)
            for channel, row in enumerate(weights):
                total = values[0] * row[0]
                for other in range(1, len(row)):
                    total += values[other] * row[other]
                mixed[channel] = total + offset
        out[place] = np.clip(np.rint(mixed), 0, 255)
    return out


def mean_gray(images: Pixels) -> Floats:
    """The mean brightness of every image, (B,), from whole sums."""
    sums = images.sum(axis=(2, 3), dtype=np.int64)
    pixels = images.shape[2] * images.shape[3]
    if images.shape[1] != 3:
        means: Floats = sums.sum(axis=1) / (images.shape[1] * pixels)
        return means
    gray: Floats = (sums @ np.array(LUMA)) / (65536 * pixels)
    return gray


def looked_up(images: Pixels, tables: Pixels) -> Pixels:
    """Every value v of an image as `table[v]`; tables are (B, 256), or (B, C, 256) with one for every channel."""
    out = np.empty_like(images)
    for place, table in enumerate(tables):
        if table.ndim == 1:
            out[place] = table.take(images[place])
        else:
            for channel in range(images.shape[1]):
                out[place, channel] = table[channel].take(images[place, channel])
    return out


def histograms(images: Pixels) -> Places:
    """How often every level occurs in every channel of every image, (B, C, 256)."""
    count, channels = images.shape[:2]
    planes = images.reshape(count * channels, -1)
    counts = np.stack([np.bincount(plane, minlength=256) for plane in planes]) if count else np.zeros((0, 256))
    return counts.reshape(count, channels, 256).astype(np.int64)


def smoothed(images: Pixels) -> Pixels:
    """The images with every inner pixel replaced by a mean over its neighbours (1 each, 5 for itself, of 13)."""
    if min(images.shape[2:]) < 3:
        return images.copy()
    values = images.astype(np.int32)
    height, width = images.shape[2:]
    total = values[:, :, 1:-1, 1:-1] * 4
    for dy in range(3):
        for dx in range(3):
            total += values[:, :, dy : dy + height - 2, dx : dx + width - 2]
    out = images.copy()
    out[:, :, 1:-1, 1:-1] = (total + 6) // 13
    return out


def blended(one: Pixels, other: Pixels, shares: Floats) -> Pixels:
    """`one` and beyond it: `other + (one - other) * share`, rounded and cut to 0 … 255; shares are (B,)."""
    share = shares.astype(np.float32)[:, np.newaxis, np.newaxis, np.newaxis]
    base = other.astype(np.float32)
    return np.clip(np.rint(base + (one.astype(np.float32) - base) * share), 0, 255).astype(np.uint8)
