"""Samples that are decoded when they are asked for: for sets too large to be kept decoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from deepdiva.data.arrays import Arrays
from deepdiva.data.decode import Decoding, ImageError, Pixels, planar
from deepdiva.data.files import in_threads, printable, read_file, reason
from deepdiva.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from deepdiva.data.footprint import Footprint


class Streamed(Arrays):
    """Images in files, decoded for every batch: on several threads, or in the loader's processes where it has some.

    What is read is hashed on the way and must be what the footprint says.

    Args:
        root: The data set.
        names: The images, which are also their ids.
        targets: Their class indices.
        decoding: How they are decoded.
        shape: (C, H, W) of every decoded image.
        proof: The footprint of the data set.
    """

    slow: ClassVar[bool] = True

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        targets: Tensor,
        *,
        decoding: Decoding,
        shape: tuple[int, int, int],
        proof: Footprint,
    ) -> None:
        values = {"_root": root, "ids": names, "targets": targets, "_decoding": decoding, "_shape": shape}
        values["_hashes"] = [proof.files[name].sha256 for name in names]
        for name, value in values.items():
            object.__setattr__(self, name, value)

    _root: Path
    _decoding: Decoding
    _shape: tuple[int, int, int]
    _hashes: list[str]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image."""
        return self._shape

    @property
    def inputs(self) -> Tensor:
        """All images, decoded into memory."""
        import torch

        return self.batch(torch.arange(len(self)))[0]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        import torch

        return torch.from_numpy(self._decode(int(index))), self.targets[index]

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """As of `Arrays`."""
        import torch
        from torch.utils.data import get_worker_info

        # A loader process is one of several already.
        threads = None if get_worker_info() is None else 1
        images = np.empty((len(indices), *self._shape), dtype=np.uint8)
        for place, image in enumerate(in_threads(self._decode, indices.tolist(), threads=threads)):
            images[place] = image
        return torch.from_numpy(images), self.targets.index_select(0, indices)

    def _decode(self, index: int) -> Pixels:
        name = self.ids[index]
        try:
            content, (sha256, _) = read_file(f"{self._root}/{name}")
            if sha256 != self._hashes[index]:
                raise UserError(
                    f"{printable(name)} has changed since the run began", "train on data that stay as they are"
                )
            image = planar(self._decoding.decode(content), self._shape[0])
        except OSError as error:
            raise UserError(f"{printable(name)} cannot be read: {reason(error)}") from error
        except ImageError as error:
            raise UserError(f"{printable(name)} {error}") from error
        return image
