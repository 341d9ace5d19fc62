"""Samples that are held in memory as tensors, whole batches of them at a time; and the digits that come bundled."""

from __future__ import annotations

import functools
import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from deepdiva.data.footprint import Footprint, Recorder
from deepdiva.data.splits import stratified
from deepdiva.data.statistics import Moments, moments_of_pixels, pixel_histogram
from deepdiva.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

DIGITS_SIZES = (1200, 200, 397)
DIGITS_SPLIT_SEED = 0
LARGE = 1 << 22
"""Numbers in a batch from which on the system gives fresh memory for each instead of what was used before."""


class Indexed(Protocol):
    """Anything with `len(samples)` and `samples[i]`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class Arrays:
    """A split held in memory.

    Values are given as they are stored: images stay uint8 from 0 to 255, points keep their coordinates. Converting
    to float and normalising happen in one place, `normalise`, which a task calls in its `step`.

    Args:
        inputs: Images (N, C, H, W) uint8, or rows of features (N, D) float32.
        targets: Class indices (N,), int64.
        ids: One name for every sample; its place where none are given.
    """

    inputs: Tensor
    targets: Tensor
    ids: Sequence[str] = ()

    def __post_init__(self) -> None:
        size = len(self.inputs)
        if not self.ids:
            object.__setattr__(self, "ids", tuple(str(place) for place in range(size)))
        if len(self.targets) != size or len(self.ids) != size:
            raise ValueError(f"{size} inputs, {len(self.targets)} targets and {len(self.ids)} ids do not match")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input: (C, H, W) or (D,)."""
        return tuple(self.inputs.shape[1:])

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.inputs[index], self.targets[index]

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the samples at `indices`, a tensor of int64, in that order.

        `index_select` is 10 to 16 times faster here than indexing with `[indices]`.
        """
        return self.inputs.index_select(0, indices), self.targets.index_select(0, indices)

    def select(self, indices: Sequence[int] | np.ndarray[Any, np.dtype[np.int64]]) -> Arrays:
        """The samples at `indices`, in that order."""
        import torch

        places = torch.as_tensor(np.asarray(indices, dtype=np.int64))
        inputs, targets = self.batch(places)
        return Arrays(inputs, targets, tuple(self.ids[place] for place in places.tolist()))


class Rows(Arrays):
    """Some of the samples of a larger array, which is not copied for it.

    Args:
        whole: The larger array, (N, …).
        rows: Which of its entries the samples are, int64.
        targets: Class indices of the samples.
        ids: Names of the samples.
    """

    def __init__(self, whole: Tensor, rows: Tensor, targets: Tensor, ids: Sequence[str]) -> None:
        for name, value in (("whole", whole), ("rows", rows), ("targets", targets), ("ids", ids)):
            object.__setattr__(self, name, value)
        if not len(rows) == len(targets) == len(ids):
            raise ValueError(f"{len(rows)} rows, {len(targets)} targets and {len(ids)} ids do not match")

    whole: Tensor
    rows: Tensor

    @property
    def inputs(self) -> Tensor:
        """All inputs, copied out of the larger array."""
        return self.whole.index_select(0, self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return tuple(self.whole.shape[1:])

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.whole[self.rows[index]], self.targets[index]

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """As of `Arrays`."""
        return self.whole.index_select(0, self.rows[indices]), self.targets.index_select(0, indices)


@dataclass(frozen=True, eq=False)
class Transformed:
    """Samples whose inputs pass through `transform`, such as one of torchvision's v2, each time they are read.

    It has no `batch`: a transform that draws random numbers must draw anew for every sample, from the stream that
    the loader sets for this sample.
    """

    samples: Indexed
    transform: Callable[[Tensor], Tensor]
    ids: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs, target = self.samples[index]
        return self.transform(inputs), target


@dataclass(frozen=True)
class Chain:
    """Transforms one after the other; a class, since a function within a function cannot be sent to a process."""

    transforms: tuple[Callable[[Tensor], Tensor], ...]

    def __call__(self, image: Tensor) -> Tensor:
        """The image after all of them."""
        for transform in self.transforms:
            image = transform(image)
        return image


@dataclass(frozen=True)
class Pictures:
    """The images (C, H, W) of samples one by one, for figures that show a few of many."""

    samples: Indexed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return np.asarray(self.samples[index][0])


@dataclass(frozen=True)
class ArraySplits:
    """All that is known of a data set held in memory; the fields are named as those of a task's `DataSplits`.

    Args:
        train: The samples that are learned from.
        val: The samples that decide which epoch is best.
        test: The samples that are read once, at the end.
        classes: Class names in the order of their indices.
        moments: Mean and standard deviation of the training samples only, as `normalise` takes them.
        footprints: Proof of what was read.
        membership: For each split that was made and not found, the names of its samples.
        preprocessing: What else should be known to prepare a sample elsewhere, such as the decoder of the images.
    """

    train: Arrays
    val: Arrays
    test: Arrays | None
    classes: tuple[str, ...]
    moments: Moments
    footprints: Sequence[Footprint] = ()
    membership: Mapping[str, Sequence[str]] = field(default_factory=dict)
    preprocessing: Mapping[str, Any] = field(default_factory=dict)

    @property
    def statistics(self) -> dict[str, list[float]]:
        """`mean` and `std`, as plain lists for the run's record."""
        return {"mean": list(self.moments.mean), "std": list(self.moments.std)}


def normalise(inputs: Tensor, mean: Sequence[float], std: Sequence[float], *, out: Tensor | None = None) -> Tensor:
    """Inputs as float32 with mean 0 and standard deviation 1: `(inputs - mean) / std`.

    uint8 images (B, C, H, W) are read as 0 … 1, which is the unit of `mean` and `std`, one number a channel; float
    inputs (B, D) are taken as they are. A channel that never changes (std 0) is only shifted.

    Args:
        inputs: A batch as stored.
        mean: One number for each channel or feature.
        std: One number for each channel or feature.
        out: A float32 tensor of the same shape to write into. Large batches gain much: fresh memory costs more
            than the arithmetic. The result is then only good until the next call.
    """
    import torch

    scale, shift = _constants(tuple(mean), tuple(std), inputs.ndim, inputs.dtype == torch.uint8, inputs.device)
    values = torch.empty_like(inputs, dtype=torch.float32) if out is None else out
    return values.copy_(inputs).mul_(scale).add_(shift)


class Normalisation:
    """`normalise`, with one buffer for all large batches on a CPU, where fresh memory costs five times the arithmetic.

    The result is good until the next call: it may be used for a step, gradients included, and not be kept.
    """

    def __init__(self) -> None:
        self._buffer: Tensor | None = None

    def __call__(self, inputs: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
        """As `normalise`, with the same bits."""
        if inputs.numel() < LARGE or inputs.device.type != "cpu":
            return normalise(inputs, mean, std)
        import torch

        if self._buffer is None or self._buffer.shape[1:] != inputs.shape[1:] or len(self._buffer) < len(inputs):
            # One made inside an evaluation must serve in training too: an inference tensor could not.
            with torch.inference_mode(mode=False):
                self._buffer = torch.empty(inputs.shape, dtype=torch.float32)
        return normalise(inputs, mean, std, out=self._buffer[: len(inputs)])


@functools.lru_cache(maxsize=64)
def _constants(
    mean: tuple[float, ...], std: tuple[float, ...], ndim: int, from_bytes: bool, device: torch.device
) -> tuple[Tensor, Tensor]:
    """`inputs * scale + shift` is `(inputs - mean) / std`; kept, because making them costs more than using them."""
    import torch

    full = 255.0 if from_bytes else 1.0
    spread = [value if value > 0 else 1.0 for value in std]
    shape = (-1, *[1] * (ndim - 2))
    # Constants made inside an evaluation must serve in training too: an inference tensor could not.
    with torch.inference_mode(mode=False):
        scale = torch.tensor([1.0 / (full * value) for value in spread], dtype=torch.float64)
        shift = torch.tensor([-m / value for m, value in zip(mean, spread, strict=True)], dtype=torch.float64)
        return scale.float().view(shape).to(device), shift.float().view(shape).to(device)


def load_digits() -> ArraySplits:
    """1,797 handwritten digits of 8 x 8 pixels (scikit-learn's copy of the UCI set), split 1200 / 200 / 397.

    Levels 0 … 16 of the original become 0 … 255. The split is stratified and always the same. scikit-learn is
    found but not imported, since importing it takes longer than training on the digits for an epoch.
    """
    import torch

    file = _digits_file()
    recorder = Recorder(file, source="digits")
    lines = gzip.decompress(recorder.read(file.name)).decode().splitlines()
    rows = np.loadtxt(lines, delimiter=",", dtype=np.int64)
    levels = (rows[:, :64] * 255 + 8) // 16
    images = torch.from_numpy(levels.astype(np.uint8).reshape(-1, 1, 8, 8))
    whole = Arrays(
        images, torch.from_numpy(rows[:, 64].copy()), tuple(f"digit-{place:04d}" for place in range(len(rows)))
    )
    parts = stratified(rows[:, 64], DIGITS_SIZES, seed=DIGITS_SPLIT_SEED)
    train, val, test = (whole.select(part) for part in parts)
    return ArraySplits(
        train=train,
        val=val,
        test=test,
        classes=tuple(str(digit) for digit in range(10)),
        moments=moments_of_pixels(pixel_histogram(train.inputs.numpy())),
        footprints=(recorder.finish(),),
        membership={"train": train.ids, "val": val.ids, "test": test.ids},
    )


def _digits_file() -> Path:
    spec = find_spec("sklearn")
    folders = () if spec is None else tuple(spec.submodule_search_locations or ())
    for folder in folders:
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            return path
    raise UserError("the bundled digits were not found", "install scikit-learn, or give your own images with --data")
