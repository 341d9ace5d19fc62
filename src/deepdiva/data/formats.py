"""Downloaded data sets by name: found where they lie, and read from their original files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepdiva.data import catalog, store
from deepdiva.data.catalog import DataSet, Layout, Published
from deepdiva.data.files import printable
from deepdiva.data.footprint import Footprint, Recorder
from deepdiva.data.splits import split_off, stratified
from deepdiva.data.statistics import moments_of_pixels, pixel_histogram
from deepdiva.errors import UserError

if TYPE_CHECKING:
    from deepdiva.data.arrays import Arrays, ArraySplits
    from deepdiva.data.originals import Labelled, Pixels
    from deepdiva.data.readers import Original

CHANNELS = ("auto", "gray", "rgb")


@dataclass(frozen=True)
class Found:
    """Where the files of a data set lie, and in which form."""

    layout: Layout
    folder: Path


@dataclass(frozen=True)
class Named:
    """A downloaded data set, ready to be read."""

    dataset: DataSet
    variant: str | None
    folder: Path

    def read(
        self, *, channels: str = "auto", size: int | None = None, val_fraction: float = 0.1, split_seed: int = 0
    ) -> ArraySplits:
        """The splits in memory; arguments and errors as for `formats.read`."""
        name = self.dataset.name if self.variant is None else f"{self.dataset.name}:{self.variant}"
        return read(name, self.folder, channels=channels, size=size, val_fraction=val_fraction, split_seed=split_seed)


def find(name: str) -> Named | None:
    """The data set called `name` on this machine; None if that is no name of a data set.

    Raises:
        UserError: It is not downloaded, or has no such variant.
    """
    known = catalog.find(name)
    if known is None:
        return None
    dataset, variant = known
    receipt = store.load(dataset.name)
    places = [] if receipt is None else [receipt.folder]
    for place in (*places, store.folder_of(dataset.name)):
        if locate(dataset, place) is not None and not lacking(dataset, variant, place):
            return Named(dataset, variant, place)
    command = f"deepdiva data download {name}"
    if receipt is None:
        raise UserError(f"{dataset.title} is not downloaded yet", command)
    raise UserError(f"{dataset.title} is not complete in {receipt.folder}", command)


def locate(dataset: DataSet, folder: Path) -> Found | None:
    """Where below `folder` all files of `dataset` lie, in the first form that is there."""
    for layout in dataset.layouts:
        for below in layout.folders:
            place = folder / below
            if all((place / name).is_file() for name in layout.files):
                return Found(layout, place)
    return None


def lacking(dataset: DataSet, variant: str | None, folder: Path) -> list[Published]:
    """The further files that a variant needs and that are not in `folder`."""
    return [file for file in dataset.extra.get(variant or "", ()) if not (folder / file.name).is_file()]


def load(dataset: DataSet, variant: str | None, folder: Path) -> tuple[Original, Footprint]:
    """The splits of the authors, and the proof of what was read.

    Raises:
        UserError: Files are missing, damaged, or not in their format.
    """
    from deepdiva.data.readers import READERS, Files  # here, so that `run --help` need not load it

    found = _located(dataset, folder)
    recorder = Recorder(found.folder)

    files = Files(recorder.read, found.layout, found.folder)
    original = READERS[found.layout.form](files, dataset, variant)
    return original, recorder.finish()


def read(
    name: str,
    folder: Path,
    *,
    channels: str = "auto",
    size: int | None = None,
    val_fraction: float = 0.1,
    split_seed: int = 0,
) -> ArraySplits:
    """A data set in memory, its validation split taken from the training images: stratified, always the same.

    Args:
        name: Which it is, with its variant: `cifar10`, `stl10:3`.
        folder: Where it lies.
        channels: `gray`, `rgb`, or `auto`: as the images are.
        size: Their side; anything but what they have is refused, as they are not resized.
        val_fraction: Share of the training images that become `val`.
        split_seed: Chooses which these are.

    Raises:
        UserError: Files are missing, damaged or not in their format, or the arguments do not fit them.
    """
    from deepdiva.data.arrays import ArraySplits

    dataset, variant = catalog.get(name)
    original, footprint = load(dataset, variant, folder)
    side = original.train.pixels.shape[-1]
    if size is not None and size != side:
        raise UserError(
            f"{dataset.title} has images of {side} x {side}, not of {size} x {size}",
            f"leave size out, or make folders with `deepdiva data download {dataset.name} --as folders`",
        )
    counts = split_off(len(original.train), val_fraction)
    places = stratified(original.train.labels, counts, seed=split_seed)
    train, val = (_arrays(original.train.select(part), "train", part, channels) for part in places)
    return ArraySplits(
        train=train,
        val=val,
        test=_arrays(original.test, "test", np.arange(len(original.test)), channels),
        classes=original.classes,
        moments=moments_of_pixels(pixel_histogram(train.inputs.numpy())),
        footprints=(footprint,),
        membership={"train": train.ids, "val": val.ids},
    )


def unlabelled(folder: Path) -> Arrays:
    """The 100,000 images of STL-10 without labels; their targets are -1.

    They are mapped and not read: a batch costs what it holds, and the whole never has to fit into memory.

    Raises:
        UserError: They are not in `folder`.
    """
    import torch

    from deepdiva.data.arrays import Arrays
    from deepdiva.data.originals import read_stl_images

    path = _located(catalog.SETS["stl10"], folder).folder / "unlabeled_X.bin"
    # Copy on write, because torch wants memory that it might change; nothing ever reaches the file.
    images = read_stl_images(np.memmap(path, np.uint8, mode="c"), str(path))
    ids = tuple(f"unlabelled-{place:06d}" for place in range(len(images)))
    return Arrays(torch.from_numpy(np.asarray(images)), torch.full((len(images),), -1), ids)


def _located(dataset: DataSet, folder: Path) -> Found:
    found = locate(dataset, folder)
    if found is None:
        raise UserError(
            f"{printable(str(folder))} does not hold {dataset.title}", f"deepdiva data download {dataset.name}"
        )
    return found


def _arrays(images: Labelled, split: str, places: np.ndarray[tuple[int], np.dtype[np.int64]], channels: str) -> Arrays:
    import torch

    from deepdiva.data.arrays import Arrays

    pixels = np.require(_in_channels(images.pixels, channels), requirements=["C", "W"])
    ids = tuple(f"{split}-{place:06d}" for place in places.tolist())
    return Arrays(torch.from_numpy(pixels), torch.from_numpy(images.labels.copy()), ids)


def _in_channels(pixels: Pixels, channels: str) -> Pixels:
    """The images in gray or RGB; gray is the luma of ITU-R 601 as Pillow computes it."""
    if channels not in CHANNELS:
        raise UserError(f"channels {channels!r} are not known", f"one of {', '.join(CHANNELS)}")
    if channels == "rgb" and pixels.shape[1] == 1:
        return pixels.repeat(3, axis=1)
    if channels == "gray" and pixels.shape[1] == 3:
        red, green, blue = (pixels[:, place].astype(np.uint32) for place in range(3))
        luma = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
        return luma[:, None].astype(np.uint8)
    return pixels
