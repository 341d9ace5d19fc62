"""Random changes of colour, and RandAugment, which draws among them and changes of shape; as in `augment`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from deepdiva.data import pixels
from deepdiva.data.augment import Draws, as_tensor, require, require_level, view_matrix
from deepdiva.data.pixels import Floats, Pixels

if TYPE_CHECKING:
    from torch import Tensor

GRAY = np.array([[weight / 65536 for weight in pixels.LUMA]] * 3)
"""The matrix that makes colours gray."""

TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
FROM_YIQ = np.array(
    [
        [1.0, 0.956170685404, 0.621432566347],
        [1.0, -0.27268860233, -0.64681323702],
        [1.0, -1.103744082176, 1.700623094677],
    ]
)


@dataclass(frozen=True)
class ColorJitter:
    """Changes brightness, contrast, saturation and hue of every image, each by a factor around 1.

    The changes follow one another in this order and the result is rounded and cut to 0 … 255 once. Saturation and hue
    do nothing to gray images. A hue is a turn of the colours around the gray axis (in YIQ).

    Args:
        brightness: Factors lie from 1 - brightness to 1 + brightness.
        contrast: The same for the distance from the image's mean gray.
        saturation: The same for the distance from the pixel's gray.
        hue: How far at most, either way, as a share of the whole circle: 0 … 0.5.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    batched: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            require(getattr(self, name) >= 0, f"{name} must be 0 or more, got {getattr(self, name)}")
        require(0 <= self.hue <= 0.5, f"hue must be from 0 to 0.5, got {self.hue}")

    def __call__(self, images: Tensor, streams: Draws) -> Tensor:
        """The images, each with other colours."""
        values = images.numpy()
        either = 2 * streams.uniform(4) - 1
        strengths = np.array([self.brightness, self.contrast, self.saturation])
        bright, contrast, saturation = np.maximum(0, 1 + either[:, :3] * strengths).T
        factors = bright * contrast
        offsets = (1 - contrast) * bright * pixels.mean_gray(values)
        if values.shape[1] != 3 or (self.saturation == 0 and self.hue == 0):
            return as_tensor(pixels.recoloured(values, factors, offsets))
        turns = [_hue_turn(self.hue * share) for share in either[:, 3].tolist()]
        matrices = np.stack(
            [
                factor * _product(turn, _saturation(s))
                for factor, turn, s in zip(factors, turns, saturation, strict=True)
            ]
        )
        return as_tensor(pixels.recoloured(values, matrices, offsets))


@dataclass(frozen=True)
class RandAugment:
    """A few changes for every image, drawn from fourteen, all of one strength (Cubuk et al., CVPRW 2020).

    Args:
        num_ops: How many.
        magnitude: How strong they are, 0 … 30.
        fill: What comes in at the edges, 0 … 255.
    """

    num_ops: int = 2
    magnitude: float = 9.0
    fill: int = 0

    batched: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(self.num_ops >= 1, f"num_ops must be 1 or more, got {self.num_ops}")
        require(0 <= self.magnitude <= 30, f"magnitude must be from 0 to 30, got {self.magnitude}")
        require_level(self.fill)

    def __call__(self, images: Tensor, streams: Draws) -> Tensor:
        """The images, each changed in ways of its own."""
        values = images.numpy().copy()
        strength = self.magnitude / 30
        for chosen, side in streams.uniform(2 * self.num_ops).reshape(len(values), self.num_ops, 2).transpose(1, 2, 0):
            kinds = (chosen * len(_CHANGES)).astype(np.int64)
            for kind in np.unique(kinds).tolist():
                places = np.flatnonzero(kinds == kind)
                signs = np.where(side[places] < 0.5, -1.0, 1.0)
                values[places] = _CHANGES[kind](values[places], strength, signs, self.fill)
        return as_tensor(values)


def _saturation(factor: float) -> Floats:
    return factor * np.eye(3) + (1 - factor) * GRAY


def _hue_turn(share: float) -> Floats:
    cos, sin = math.cos(2 * math.pi * share), math.sin(2 * math.pi * share)
    return _product(FROM_YIQ, _product(np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]), TO_YIQ))


def _product(one: Floats, other: Floats) -> Floats:
    """`one @ other`, but by no library that rounds in its own way on each machine."""
    first, second, third = (one[:, [place]] * other[place] for place in range(3))
    product: Floats = first + second + third
    return product


# -- what RandAugment draws from: images, strength 0 … 1, a sign for every image, fill ---------------------------------

_Change = Callable[[Pixels, float, Floats, int], Pixels]


def _viewed(setting: str, largest: float) -> _Change:
    """A change of shape by up to `largest`: shear as a slope, a turn in degrees, or a move as a share of the side."""

    def change(images: Pixels, strength: float, signs: Floats, fill: int) -> Pixels:
        amounts = (largest * strength * signs).tolist()
        matrices = np.stack([_view(setting, amount, images.shape[2:]) for amount in amounts])
        return pixels.affine(images, matrices, fill=fill)

    return change


def _view(setting: str, amount: float, size: tuple[int, ...]) -> Floats:
    if setting == "across":
        return view_matrix(across=float(round(amount * size[1])))
    if setting == "down":
        return view_matrix(down=float(round(amount * size[0])))
    if setting == "turn":
        return view_matrix(degrees=amount)
    matrix = view_matrix()
    matrix[(0, 1) if setting == "shear across" else (1, 0)] = -amount
    return matrix


def _brightness(images: Pixels, strength: float, signs: Floats, fill: int) -> Pixels:
    return pixels.recoloured(images, 1 + 0.9 * strength * signs, np.zeros(len(images)))


def _contrast(images: Pixels, strength: float, signs: Floats, fill: int) -> Pixels:
    factors = 1 + 0.9 * strength * signs
    return pixels.recoloured(images, factors, (1 - factors) * pixels.mean_gray(images))


def _colour(images: Pixels, strength: float, signs: Floats, fill: int) -> Pixels:
    if images.shape[1] != 3:
        return images
    matrices = np.stack([_saturation(1 + 0.9 * strength * sign) for sign in signs])
    return pixels.recoloured(images, matrices, np.zeros(len(images)))


def _sharpness(images: Pixels, strength: float, signs: Floats, fill: int) -> Pixels:
    return pixels.blended(images, pixels.smoothed(images), 1 + 0.9 * strength * signs)


def _posterize(images: Pixels, strength: float, signs: Floats, fill: int) -> Pixels:
    return images & np.uint8(256 - 2 ** round(4 * strength))


def _solarize(images: Pixels, strength: float, signs: Floats, fill: int) -> Pixels:
    return np.where(images >= 256 * (1 - strength), 255 - images, images)


def _autocontrast(images: Pixels, strength: float, signs: Floats, fill: int) -> Pixels:
    """Every channel stretched to 0 … 255."""
    low = images.min(axis=(2, 3)).astype(np.int64)[..., np.newaxis]
    high = images.max(axis=(2, 3)).astype(np.int64)[..., np.newaxis]
    span = np.maximum(high - low, 1)
    stretched = np.clip(((np.arange(256) - low) * 255 + span // 2) // span, 0, 255)
    return pixels.looked_up(images, np.where(high > low, stretched, np.arange(256)).astype(np.uint8))


def _equalize(images: Pixels, strength: float, signs: Floats, fill: int) -> Pixels:
    """Every channel with its levels as evenly used as can be."""
    counts = pixels.histograms(images)
    below = np.cumsum(counts, axis=2) - counts
    last = np.take_along_axis(counts, images.max(axis=(2, 3)).astype(np.int64)[..., np.newaxis], axis=2)
    step = (counts.sum(axis=2, keepdims=True) - last) // 255
    tables = np.where(step > 0, np.clip((below + step // 2) // np.maximum(step, 1), 0, 255), np.arange(256))
    return pixels.looked_up(images, tables.astype(np.uint8))


def _identity(images: Pixels, strength: float, signs: Floats, fill: int) -> Pixels:
    return images


_CHANGES: tuple[_Change, ...] = (
    _identity,
    _viewed("shear across", 0.3),
    _viewed("shear down", 0.3),
    _viewed("across", 150 / 331),
    _viewed("down", 150 / 331),
    _viewed("turn", 30.0),
    _brightness,
    _colour,
    _contrast,
    _sharpness,
    _posterize,
    _solarize,
    _autocontrast,
    _equalize,
)
