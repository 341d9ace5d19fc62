"""Random changes of training images, a whole batch at a time, with a stream of randomness for every sample.

Each is a component that a configuration can name (`random_shift`, `{class: random_crop, size: 224}`), called with
images (B, C, H, W) of 8 bits and the streams of their samples. What a sample becomes depends on its own stream alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from deepdiva.data import pixels
from deepdiva.data.arrays import Arrays, Chain, Transformed
from deepdiva.data.pixels import Floats, Pixels

if TYPE_CHECKING:
    from torch import Tensor

NAMES = {
    name: f"deepdiva.data.{module}:{attribute}"
    for name, module, attribute in (
        ("random_shift", "augment", "RandomShift"),
        ("random_crop", "augment", "RandomCrop"),
        ("random_resized_crop", "augment", "RandomResizedCrop"),
        ("random_flip", "augment", "RandomFlip"),
        ("random_affine", "augment", "RandomAffine"),
        ("color_jitter", "recolour", "ColorJitter"),
        ("random_erase", "augment", "RandomErase"),
        ("rand_augment", "recolour", "RandAugment"),
    )
}
"""Short names of the components, for configurations."""

CROPS = ("random_crop", "random_resized_crop")
"""Those whose `size` is that of the images from then on."""


class Draws(Protocol):
    """The streams of the samples of a batch, as the loader gives them."""

    def uniform(self, count: int, /) -> Floats:
        """The next `count` numbers in [0, 1) of every sample, shape (B, count)."""

    def component(self, place: int, /) -> Draws:
        """Streams of their own for the transform at `place`."""

    def part(self, places: Any, /) -> Draws:
        """The streams of some of the samples."""

    def seed_globals(self, place: int, /) -> None:
        """Sets the global generators to the stream of one sample."""


@dataclass(frozen=True, eq=False)
class Augmented:
    """Training samples whose images are changed anew each time they are drawn.

    Transforms with an attribute `batched = True` are called with (images (B, C, H, W), streams). If there is one that
    has none, such as those of torchvision, the images go through all of them one by one.

    Args:
        samples: The samples as they are stored.
        transforms: What is done to every image, in this order.
        ids: The names of the samples.
    """

    samples: Arrays
    transforms: Sequence[Any]
    ids: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """The sample as it is stored: without a stream nothing can be drawn."""
        return self.samples[index]

    def draw(self, indices: Tensor, streams: Draws) -> tuple[Tensor, Tensor]:
        """Images, changed, and targets of the samples at `indices`, whose streams are `streams`."""
        import torch

        images, targets = self.samples.batch(indices)
        if all(is_batched(transform) for transform in self.transforms):
            return self._changed(images, streams), targets
        changed = []
        for place in range(len(indices)):
            streams.seed_globals(place)
            changed.append(self._changed(images[place : place + 1], streams.part(np.array([place]))))
        return torch.cat(changed), targets

    def _changed(self, images: Tensor, streams: Draws) -> Tensor:
        for place, transform in enumerate(self.transforms):
            if is_batched(transform):
                images = transform(images, streams.component(place))
            else:
                images = transform(images[0]).unsqueeze(0)
        return images


def augmented(samples: Arrays, transforms: Sequence[Any]) -> Arrays | Augmented | Transformed:
    """The samples with `transforms` done to every image that is drawn; as they are where there are none."""
    if not transforms:
        return samples
    if any(is_batched(transform) for transform in transforms):
        return Augmented(samples, tuple(transforms), samples.ids)
    return Transformed(samples, Chain(tuple(transforms)), samples.ids)


def is_batched(transform: Any) -> bool:
    """Whether a transform takes a whole batch and the streams of its samples."""
    return bool(getattr(transform, "batched", False))


@dataclass(frozen=True)
class RandomShift:
    """Moves every image by whole pixels, each way and each distance as likely.

    Args:
        pixels: How far at most, in every direction.
        fill: What comes in at the edges, 0 … 255.
    """

    pixels: int = 2
    fill: int = 0

    batched: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(self.pixels >= 0, f"pixels must be 0 or more, got {self.pixels}")
        require_level(self.fill)

    def __call__(self, images: Tensor, streams: Draws) -> Tensor:
        """The images, each moved."""
        corner = (streams.uniform(2) * (2 * self.pixels + 1)).astype(np.int64)
        room = pixels.padded(images.numpy(), self.pixels, self.pixels, fill=self.fill)
        return as_tensor(pixels.crops(room, corner[:, 0], corner[:, 1], *images.shape[2:]))


@dataclass(frozen=True)
class RandomCrop:
    """Cuts a part out of every image, each place as likely.

    Args:
        size: Side of the part in pixels.
        padding: Rows and columns that are put around the image before.
        fill: What these hold, 0 … 255.
    """

    size: int
    padding: int = 0
    fill: int = 0

    batched: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(self.size >= 1, f"size must be 1 or more, got {self.size}")
        require(self.padding >= 0, f"padding must be 0 or more, got {self.padding}")
        require_level(self.fill)

    def __call__(self, images: Tensor, streams: Draws) -> Tensor:
        """A part of every image."""
        room = images.numpy()
        if self.padding:
            room = pixels.padded(room, self.padding, self.padding, fill=self.fill)
        height, width = room.shape[2:]
        require(
            self.size <= min(height, width), f"size {self.size} is more than the {height} x {width} pixels there are"
        )
        span = np.array([height - self.size + 1, width - self.size + 1])
        corner = (streams.uniform(2) * span).astype(np.int64)
        return as_tensor(pixels.crops(room, corner[:, 0], corner[:, 1], self.size, self.size))


@dataclass(frozen=True)
class RandomResizedCrop:
    """Cuts out a part of random size and shape and brings it to one size (bilinear, smoothed when made smaller).

    Args:
        size: Side of the result in pixels.
        scale: Smallest and largest share of the image's area.
        ratio: Smallest and largest ratio of width to height.
    """

    size: int
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    batched: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(self.size >= 1, f"size must be 1 or more, got {self.size}")
        require_range("scale", self.scale, low=0.0, high=1.0)
        require_range("ratio", self.ratio, low=0.0)

    def __call__(self, images: Tensor, streams: Draws) -> Tensor:
        """A part of every image, at one size."""
        import torch
        from torch.nn.functional import interpolate

        sizes, corners = _random_boxes(streams.uniform(4), images.shape[2:], self.scale, self.ratio)
        out = torch.empty((*images.shape[:2], self.size, self.size), dtype=torch.uint8)
        for place, ((height, width), (top, left)) in enumerate(zip(sizes.tolist(), corners.tolist(), strict=True)):
            part = images[place : place + 1, :, top : top + height, left : left + width]
            # On 8-bit images this is whole-number arithmetic.
            out[place] = interpolate(part, (self.size, self.size), mode="bilinear", antialias=True)[0]
        return out


@dataclass(frozen=True)
class RandomFlip:
    """Mirrors some of the images.

    Args:
        p: The share of them.
        vertical: Whether top and bottom change places; left and right otherwise.
    """

    p: float = 0.5
    vertical: bool = False

    batched: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_share(self.p)

    def __call__(self, images: Tensor, streams: Draws) -> Tensor:
        """The images, some of them mirrored."""
        chosen = streams.uniform(1)[:, 0] < self.p
        return as_tensor(pixels.flipped(images.numpy(), chosen, vertical=self.vertical))


@dataclass(frozen=True)
class RandomAffine:
    """Turns, moves, scales and shears every image around its middle (bilinear).

    Args:
        degrees: How far it is turned at most, either way.
        translate: How far it is moved at most, either way, as a share of its height and width.
        scale: Smallest and largest factor of size.
        shear: How far it is sheared at most, either way, in degrees.
        fill: What comes in at the edges, 0 … 255.
    """

    degrees: float = 0.0
    translate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shear: float = 0.0
    fill: int = 0

    batched: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_range("scale", self.scale, low=0.0)
        require(abs(self.shear) < 90, f"shear must be below 90 degrees, got {self.shear}")
        require(self.translate >= 0, f"translate must be 0 or more, got {self.translate}")
        require_level(self.fill)

    def __call__(self, images: Tensor, streams: Draws) -> Tensor:
        """The images, each seen through a map of its own."""
        height, width = images.shape[2:]
        drawn = streams.uniform(5)
        either = 2 * drawn - 1
        low, high = self.scale
        matrices = np.stack(
            [
                view_matrix(
                    degrees=self.degrees * turn,
                    shear=self.shear * shear,
                    scale=low + (high - low) * size,
                    across=self.translate * width * across,
                    down=self.translate * height * down,
                )
                for turn, shear, across, down, size in np.column_stack([either[:, :4], drawn[:, 4]]).tolist()
            ]
        )
        return as_tensor(pixels.affine(images.numpy(), matrices, fill=self.fill))


@dataclass(frozen=True)
class RandomErase:
    """Covers a rectangle in some of the images (Zhong et al., AAAI 2020).

    Args:
        p: The share of the images.
        scale: Smallest and largest share of the area that is covered.
        ratio: Smallest and largest ratio of width to height.
        fill: What the rectangle shows, 0 … 255.
    """

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    fill: int = 0

    batched: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_share(self.p)
        require_range("scale", self.scale, low=0.0, high=1.0)
        require_range("ratio", self.ratio, low=0.0)
        require_level(self.fill)

    def __call__(self, images: Tensor, streams: Draws) -> Tensor:
        """The images, some of them covered in part."""
        out = images.numpy().copy()
        drawn = streams.uniform(5)
        sizes, corners = _random_boxes(drawn[:, 1:], images.shape[2:], self.scale, self.ratio)
        for place in np.flatnonzero(drawn[:, 0] < self.p).tolist():
            (height, width), (top, left) = sizes[place], corners[place]
            out[place, :, top : top + height, left : left + width] = self.fill
        return as_tensor(out)


def view_matrix(
    *, degrees: float = 0.0, shear: float = 0.0, scale: float = 1.0, across: float = 0.0, down: float = 0.0
) -> Floats:
    """The map from a new image to the old one, (2, 3), that turns, shears, scales and then moves what is seen."""
    angle, slope = math.radians(degrees), math.tan(math.radians(shear))
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    inverse = np.array([[cos - slope * -sin, sin - slope * cos], [-sin, cos]])
    moved = np.array([inverse[0, 0] * across + inverse[0, 1] * down, inverse[1, 0] * across + inverse[1, 1] * down])
    return np.column_stack([inverse, -moved])


def _random_boxes(
    drawn: Floats, size: Sequence[int], scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[pixels.Places, pixels.Places]:
    """Heights and widths (B, 2), and corners (B, 2), of boxes inside images of `size`; four numbers each make them.

    The logarithm of the ratio is uniform. A box that is longer than the image is cut to it.
    """
    area = (scale[0] + (scale[1] - scale[0]) * drawn[:, 0]) * (size[0] * size[1])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    shapes = [math.sqrt(math.exp(low + (high - low) * share)) for share in drawn[:, 1].tolist()]
    edge = np.sqrt(area)
    sides = np.column_stack([edge / shapes, edge * shapes])
    sizes = np.clip(np.rint(sides).astype(np.int64), 1, np.array(size))
    return sizes, (drawn[:, 2:4] * (np.array(size) - sizes + 1)).astype(np.int64)


def as_tensor(images: Pixels) -> Tensor:
    """The images as the loop takes them."""
    import torch

    return torch.from_numpy(images)


def require(holds: bool, otherwise: str) -> None:
    """Refuses an argument."""
    if not holds:
        raise ValueError(otherwise)


def require_level(fill: int) -> None:
    """Refuses what is no value of a pixel."""
    require(0 <= fill <= 255, f"fill must be from 0 to 255, got {fill}")


def require_share(p: float) -> None:
    """Refuses what is no probability."""
    require(0 <= p <= 1, f"p must be from 0 to 1, got {p}")


def require_range(name: str, pair: tuple[float, float], *, low: float, high: float = math.inf) -> None:
    """Refuses what are not two numbers above `low`, up to `high`, the smaller first."""
    require(low < pair[0] <= pair[1] <= high, f"{name} must be two numbers above {low:g}, smaller first, got {pair}")
