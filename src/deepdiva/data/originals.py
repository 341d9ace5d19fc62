"""The original formats of well-known data sets: bytes in, arrays out, every byte accounted for."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deepdiva.data import archives, pickles
from deepdiva.errors import UserError

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

MOST_BYTES = 1 << 32
"""What a compressed file may grow to, far above any of the sets."""

IDX_UNSIGNED_BYTES = 0x08
CIFAR_SHAPE = (3, 32, 32)
STL_SHAPE = (3, 96, 96)


@dataclass(frozen=True)
class Labelled:
    """A split as it is on disk.

    Args:
        pixels: Images (N, C, H, W).
        labels: Class indices (N,).
    """

    pixels: Pixels
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, places: Labels) -> Labelled:
        """Some of the samples."""
        return Labelled(self.pixels[places], self.labels[places])


def labelled(pixels: Pixels, labels: npt.ArrayLike, classes: int, where: str) -> Labelled:
    """A split, after a check that images and labels fit together.

    Raises:
        UserError: They do not.
    """
    numbers = np.asarray(labels, dtype=np.int64).reshape(-1)
    if len(numbers) != len(pixels):
        raise UserError(f"{where}: {len(pixels):,} images and {len(numbers):,} labels do not match")
    if not len(numbers):
        raise UserError(f"{where} holds no images")
    if numbers.min() < 0 or numbers.max() >= classes:
        raise UserError(f"{where}: labels go from {numbers.min()} to {numbers.max()} where there are {classes} classes")
    return Labelled(pixels, numbers)


def joined(parts: Sequence[Labelled]) -> Labelled:
    """Several parts, one after the other."""
    return Labelled(np.concatenate([part.pixels for part in parts]), np.concatenate([part.labels for part in parts]))


def read_idx(content: bytes, where: str, *, dimensions: int) -> Pixels:
    """An IDX file, packed by gzip or not: the format of MNIST.

    Two zero bytes, the type (8: unsigned bytes), the number of dimensions, each dimension as a big-endian number of
    four bytes, then the values, the last dimension running fastest.
    """
    if content.startswith(b"\x1f\x8b"):
        content = archives.gunzip(content, where, most_bytes=MOST_BYTES)
    if len(content) < 4 or content[:3] != bytes((0, 0, IDX_UNSIGNED_BYTES)) or content[3] != dimensions:
        expected = f"0000{IDX_UNSIGNED_BYTES:02x}{dimensions:02x}"
        raise UserError(
            f"{where} is no IDX file of {dimensions} dimensions: begins with {content[:4].hex()}, not {expected}"
        )
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise UserError(f"{where} is truncated")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    _check_size(where, len(content) - start, math.prod(shape))
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_cifar_pickle(content: bytes, where: str, *, labels: str) -> tuple[Pixels, Labels]:
    """A batch of CIFAR in the Python version: `data` (N, 3072), the three colours one after the other, row by row."""
    batch = pickles.load(content, where)
    if not isinstance(batch, dict):
        raise UserError(f"{where} is no batch of CIFAR: holds {type(batch).__name__}, not a dictionary")
    data, numbers = (_entry(batch, name, where) for name in ("data", labels))
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
        raise UserError(f"{where} is no batch of CIFAR: its data are not N x 3072 bytes")
    if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
        raise UserError(f"{where} is no batch of CIFAR: its {labels} are not a list of whole numbers")
    return data.reshape(-1, *CIFAR_SHAPE), np.array(numbers, dtype=np.int64)


def read_cifar_names(content: bytes, where: str, *, names: str) -> tuple[str, ...]:
    """The class names in the description that comes with the Python version of CIFAR."""
    found = pickles.load(content, where)
    listed = _entry(found, names, where) if isinstance(found, dict) else None
    if not isinstance(listed, list) or not all(isinstance(name, bytes | str) for name in listed):
        raise UserError(f"{where} has no list of {names}")
    return tuple(name if isinstance(name, str) else name.decode("ascii", "replace") for name in listed)


def read_cifar_records(content: bytes, where: str, *, label_bytes: int, label: int) -> tuple[Pixels, Labels]:
    """A file of the binary version of CIFAR: for each image its labels, a byte each, and 3072 bytes as above."""
    size = label_bytes + 3072
    if len(content) % size:
        raise UserError(f"{where} is no file of CIFAR records: {len(content):,} bytes are no multiple of {size}")
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    pixels = np.ascontiguousarray(records[:, label_bytes:]).reshape(-1, *CIFAR_SHAPE)
    return pixels, records[:, label].astype(np.int64)


def read_svhn(content: bytes, where: str) -> tuple[Pixels, Labels]:
    """A file of SVHN, second format: `X` (32, 32, 3, N) and `y` (N, 1), in which 10 stands for the digit 0."""
    from scipy.io import loadmat

    try:
        found = loadmat(io.BytesIO(content), variable_names=("X", "y"))
    except Exception as error:  # damaged bytes make it raise nearly anything
        raise UserError(f"{where} is no file of MATLAB, or damaged: {error}") from error
    images, digits = found.get("X"), found.get("y")
    if images is None or digits is None:
        raise UserError(f"{where} does not hold X and y")
    if images.ndim == 3:  # MATLAB drops a last dimension of 1
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[2] != 3:
        raise UserError(f"{where}: X is {images.dtype} {images.shape}, not bytes (height, width, 3, N)")
    labels = np.asarray(digits, dtype=np.int64).reshape(-1)
    return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), np.where(labels == 10, 0, labels)


def read_stl_images(content: bytes | npt.NDArray[np.uint8], where: str) -> Pixels:
    """Images of STL-10 (N, 3, 96, 96): each colour is stored column by column. A view, nothing is copied."""
    values = np.frombuffer(content, np.uint8) if isinstance(content, bytes) else content
    size = math.prod(STL_SHAPE)
    if values.size % size:
        raise UserError(f"{where} is truncated: {values.size:,} bytes are no multiple of {size}")
    return values.reshape(-1, *STL_SHAPE).transpose(0, 1, 3, 2)


def read_stl_labels(content: bytes) -> Labels:
    """Labels of STL-10, stored as 1 … 10."""
    return np.frombuffer(content, np.uint8).astype(np.int64) - 1


def read_stl_folds(content: bytes, where: str, *, size: int) -> list[Labels]:
    """The folds of STL-10: in each line the places of its images among the `size` training images, from 0."""
    folds = []
    for number, line in enumerate(content.decode("ascii", "replace").splitlines(), start=1):
        words = line.split()
        if not all(word.isdecimal() and int(word) < size for word in words):
            raise UserError(f"{where}:{number}: these are not places among {size:,} images")
        folds.append(np.array([int(word) for word in words], dtype=np.int64))
    return folds


def read_lines(content: bytes) -> tuple[str, ...]:
    """Names, one a line; empty lines do not count."""
    return tuple(line.strip() for line in content.decode("utf-8", "replace").splitlines() if line.strip())


def _entry(batch: dict[Any, Any], name: str, where: str) -> Any:
    """An entry of a dictionary that Python 2 (bytes) or Python 3 (text) wrote."""
    for key in (name.encode(), name):
        if key in batch:
            return batch[key]
    raise UserError(f"{where} has no entry {name}")


def _check_size(where: str, found: int, expected: int) -> None:
    if found < expected:
        raise UserError(f"{where} is truncated: {found:,} of {expected:,} values are there")
    if found > expected:
        raise UserError(f"{where} is damaged: {found:,} values where {expected:,} are expected")
