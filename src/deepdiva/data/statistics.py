"""Exact numbers about a data set: mean and standard deviation of its pixels or features, and its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LEVELS = 256
CHUNK_PIXELS = 1 << 22
"""Pixels counted at a time: bounds the memory that counting needs, whatever the size of the set."""


@dataclass(frozen=True)
class Moments:
    """Mean and (population) standard deviation: one number a channel, or one a feature."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def pixel_histogram(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """How often every level occurs in every channel, shape (C, 256), of images (N, C, H, W).

    Histograms of parts add up to the histogram of the whole, so a set may be counted piece by piece.
    """
    total, channels, height, width = images.shape
    counts = np.zeros((channels, LEVELS), dtype=np.int64)
    step = max(1, CHUNK_PIXELS // max(1, height * width))
    for start in range(0, total, step):
        for channel in range(channels):
            counts[channel] += _levels(np.ascontiguousarray(images[start : start + step, channel]).reshape(-1))
    return counts


def _levels(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """How often every level occurs. Pillow counts bytes as they are; numpy makes eight of each, eight times slower."""
    from PIL import Image

    rows = len(pixels) // LEVELS
    counts = np.bincount(pixels[rows * LEVELS :], minlength=LEVELS).astype(np.int64)
    if rows:
        picture = Image.frombuffer("L", (LEVELS, rows), pixels[: rows * LEVELS], "raw", "L", 0, 1)
        counts += np.array(picture.histogram(), dtype=np.int64)
    return counts


def moments_of_pixels(histogram: npt.NDArray[np.int64]) -> Moments:
    """Mean and standard deviation of every channel in units of the full range (0 … 1), every pixel counting the same.

    Sums are taken over whole numbers of any size, so that the result is exact up to the last rounding.
    """
    mean, std = [], []
    for counts in histogram.tolist():
        size = sum(counts)
        first = sum(level * count for level, count in enumerate(counts))
        second = sum(level * level * count for level, count in enumerate(counts))
        mean.append(first / size / (LEVELS - 1) if size else 0.0)
        variance = (size * second - first * first) / (size * size) if size else 0.0
        std.append(variance**0.5 / (LEVELS - 1))
    return Moments(tuple(mean), tuple(std))


def moments_of_features(rows: npt.NDArray[np.floating]) -> Moments:
    """Mean and standard deviation of every column of rows (N, D), computed in double precision."""
    columns = np.asarray(rows, dtype=np.float64)
    return Moments(tuple(columns.mean(axis=0).tolist()), tuple(columns.std(axis=0).tolist()))


def class_counts(targets: Sequence[int] | npt.NDArray[np.integer], num_classes: int) -> tuple[int, ...]:
    """Number of samples of every class."""
    return tuple(np.bincount(np.asarray(targets, dtype=np.int64), minlength=num_classes).tolist())


def class_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Weights that let every class count the same in a loss: samples / (classes · samples of the class).

    A class without samples gets 0.
    """
    total = sum(counts)
    return tuple(total / (len(counts) * count) if count else 0.0 for count in counts)
