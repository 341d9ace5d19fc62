"""How an image file becomes what a model was trained on: written into every checkpoint, and done again elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepdiva.data.arrays import normalise
from deepdiva.data.decode import Decoding, ImageError, Pixels, planar
from deepdiva.data.files import printable, reason
from deepdiva.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Preprocessing:
    """From a file to the input of a model.

    An image is decoded as in training (`Decoding`), brought to the height and width that all images had there, cut to
    its middle where a crop was asked for, read as 0 … 1 and normalised channel by channel.

    Args:
        channels: `gray` or `rgb`.
        size: Height and width.
        mean: What is taken off, one number a channel.
        std: What the rest is divided by, one number a channel.
        crop: Side of the middle part that is seen; None for the whole.
        decoder: What decoded the images of the training: others may give slightly other pixels.
    """

    channels: str
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: int | None = None
    decoder: str = ""

    @property
    def seen(self) -> tuple[int, int, int]:
        """(C, H, W) of what the model gets."""
        height, width = (self.crop, self.crop) if self.crop is not None else self.size
        return (3 if self.channels == "rgb" else 1), height, width

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Preprocessing:
        """What a checkpoint says (`engine.checkpoint.read_about(…).preprocessing`).

        Raises:
            UserError: The model was not trained on images of files, or by an older version that did not say.
        """
        try:
            height, width = values["size"]
            mean, std = tuple(values["mean"]), tuple(values["std"])
            return cls(values["channels"], (height, width), mean, std, values.get("crop"), values.get("decoder", ""))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError("the checkpoint does not say how images are prepared for its model") from error

    def read(self, content: bytes) -> Pixels:
        """The image in `content`, a file's bytes, as it was held in training: (C, H, W), 0 … 255.

        Raises:
            ImageError: It cannot be read.
        """
        image = Decoding(self.channels, self.size).decode(content)
        return planar(image, 3 if self.channels == "rgb" else 1)

    def __call__(self, files: Iterable[Path | str]) -> Tensor:
        """The input of the model, (B, C, H, W), for some image files.

        Raises:
            UserError: One of them cannot be read.
        """
        import torch

        images = torch.from_numpy(np.stack([self._read_file(Path(file)) for file in files]))
        return normalise(middle(images, self.crop), self.mean, self.std)

    def _read_file(self, file: Path) -> Pixels:
        try:
            return self.read(file.read_bytes())
        except OSError as error:
            raise UserError(f"{printable(str(file))} cannot be read: {reason(error)}") from error
        except ImageError as error:
            raise UserError(f"{printable(str(file))} {error}") from error


def preprocessing_of(
    shape: Sequence[int],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    crop: int | None = None,
    decoder: str = "",
) -> Preprocessing:
    """What is to be done elsewhere for a model that was trained on images (C, H, W).

    Raises:
        UserError: The crop does not fit into the images.
    """
    channels, height, width = shape
    if crop is not None and crop > min(height, width):
        raise UserError(f"a crop of {crop} pixels does not fit into images of {height} x {width}")
    return Preprocessing("rgb" if channels == 3 else "gray", (height, width), tuple(mean), tuple(std), crop, decoder)


def middle(images: Tensor, side: int | None) -> Tensor:
    """The middle of images (B, C, H, W), `side` pixels high and wide; the images themselves where `side` is None."""
    if side is None:
        return images
    top, left = (images.shape[2] - side) // 2, (images.shape[3] - side) // 2
    return images[:, :, top : top + side, left : left + side]
