"""Which files of a data set make up which split, for each form in which it may lie on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from deepdiva.data import originals
from deepdiva.data.catalog import DataSet, Layout
from deepdiva.data.files import reason
from deepdiva.data.originals import Labelled, joined, labelled
from deepdiva.errors import UserError


@dataclass(frozen=True)
class Original:
    """A data set as its authors split it."""

    train: Labelled
    test: Labelled
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Files:
    """The files of a data set.

    Args:
        get: The content of a file in `folder` by its name.
        layout: In which form they are.
        folder: Where they lie.
    """

    get: Callable[[str], bytes]
    layout: Layout
    folder: Path

    def read(self, name: str) -> tuple[bytes, str]:
        """Content and path of a file.

        Raises:
            UserError: It cannot be read.
        """
        path = str(self.folder / name)
        try:
            return self.get(name), path
        except KeyError:
            raise UserError(f"{path} does not exist") from None
        except OSError as error:
            raise UserError(f"{path} cannot be read: {reason(error)}") from error

    def starting(self, start: str) -> str:
        """The name of the one file that begins like this, packed or not."""
        return next(name for name in self.layout.files if name.startswith(start))


Reader: TypeAlias = Callable[[Files, DataSet, str | None], Original]


def read_idx_files(files: Files, dataset: DataSet, variant: str | None) -> Original:
    """MNIST and its relatives."""

    def split(name: str) -> Labelled:
        pixels = originals.read_idx(*files.read(files.starting(f"{name}-images")), dimensions=3)
        content, path = files.read(files.starting(f"{name}-labels"))
        labels = originals.read_idx(content, path, dimensions=1)
        return labelled(pixels[:, None], labels, len(dataset.classes), path)

    return Original(split("train"), split("t10k"), dataset.classes)


def read_cifar_pickles(files: Files, dataset: DataSet, variant: str | None) -> Original:
    """CIFAR in the Python version; CIFAR-100 with its fine labels, or as `cifar100:coarse`."""
    ten = "batches.meta" in files.layout.files
    kind = "" if ten else f"{variant or 'fine'}_"
    meta = files.read("batches.meta" if ten else "meta")
    classes = originals.read_cifar_names(*meta, names=f"{kind}label_names")

    def part(name: str) -> Labelled:
        content, path = files.read(name)
        pixels, labels = originals.read_cifar_pickle(content, path, labels=f"{kind}labels")
        return labelled(pixels, labels, len(classes), path)

    batches = [f"data_batch_{place}" for place in range(1, 6)] if ten else ["train"]
    return Original(joined([part(name) for name in batches]), part("test_batch" if ten else "test"), classes)


def read_cifar_records(files: Files, dataset: DataSet, variant: str | None) -> Original:
    """CIFAR in the binary version: one label byte, or for CIFAR-100 the coarse and the fine one."""
    ten = "batches.meta.txt" in files.layout.files
    names = "batches.meta.txt" if ten else f"{variant or 'fine'}_label_names.txt"
    classes = originals.read_lines(files.read(names)[0])
    label_bytes, label = (1, 0) if ten else (2, 0 if variant == "coarse" else 1)

    def part(name: str) -> Labelled:
        content, path = files.read(name)
        pixels, labels = originals.read_cifar_records(content, path, label_bytes=label_bytes, label=label)
        return labelled(pixels, labels, len(classes), path)

    batches = [f"data_batch_{place}.bin" for place in range(1, 6)] if ten else ["train.bin"]
    test = part("test_batch.bin" if ten else "test.bin")
    return Original(joined([part(name) for name in batches]), test, classes)


def read_svhn_files(files: Files, dataset: DataSet, variant: str | None) -> Original:
    """SVHN; as `svhn:extra` with the easier images after the others in the training split."""

    def part(name: str) -> Labelled:
        content, path = files.read(f"{name}_32x32.mat")
        return labelled(*originals.read_svhn(content, path), len(dataset.classes), path)

    train = part("train") if variant is None else joined([part("train"), part("extra")])
    return Original(train, part("test"), dataset.classes)


def read_stl_files(files: Files, dataset: DataSet, variant: str | None) -> Original:
    """STL-10: all training images, or one of the ten folds of the published protocol."""
    if variant == "unlabelled":
        raise UserError("stl10:unlabelled has no labels", "take stl10, or one of its folds stl10:0 … stl10:9")
    classes = originals.read_lines(files.read("class_names.txt")[0])

    def split(name: str) -> Labelled:
        pixels = originals.read_stl_images(*files.read(f"{name}_X.bin"))
        content, path = files.read(f"{name}_y.bin")
        return labelled(pixels, originals.read_stl_labels(content), len(classes), path)

    train = split("train")
    if variant is not None:
        content, path = files.read("fold_indices.txt")
        folds = originals.read_stl_folds(content, path, size=len(train))
        if int(variant) >= len(folds):
            raise UserError(f"{path} has {len(folds)} folds, no fold {variant}")
        train = train.select(folds[int(variant)])
    return Original(train, split("test"), classes)


READERS: Mapping[str, Reader] = {
    "idx": read_idx_files,
    "cifar-python": read_cifar_pickles,
    "cifar-binary": read_cifar_records,
    "svhn": read_svhn_files,
    "stl10": read_stl_files,
}
"""How each form is read."""
