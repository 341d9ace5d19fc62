"""The contract between a task and the loop: what a task gives, and what it gets back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from deepdiva.config import Kind
    from deepdiva.data.footprint import Footprint


class Samples(Protocol):
    """A split: any map-style data set, `len(samples)` and `samples[i]`.

    Optional additions: `ids`, a sequence with the name of every sample (its place otherwise); `batch(indices)`, which
    gives a whole collated batch at once and makes loading from memory fast; `slow = True` where such a batch takes
    long, so that loader processes are worth it; and `draw(indices, streams)`, a whole batch with randomness, drawn
    from the stream of each sample (`engine.seeding.SampleStreams`).
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True)
class DataSplits:
    """What `Task.load_data` gives.

    Args:
        train: The samples that are learned from.
        val: The samples that decide which epoch is best.
        test: The samples that are read once, at the very end; None where there are none.
        footprints: Proof of what was read, one for each place, kept in the run folder (`data/`).
        supplies: Arguments that the data decide (`num_classes`, `in_channels`, …): given to the model where its
            signature has them, and written to the run's configuration.
        classes: Class names in the order of their indices; empty where the task has none.
        membership: For each split, the names of its samples, where the split was made and not found.
        preprocessing: How a sample elsewhere becomes what the model was trained on, in plain values; kept in every
            checkpoint (`engine.checkpoint.read_about`).
    """

    train: Samples
    val: Samples
    test: Samples | None = None
    footprints: Sequence[Footprint] = ()
    supplies: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    membership: Mapping[str, Sequence[str]] = field(default_factory=dict)
    preprocessing: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StepOutput:
    """What one batch gave.

    Args:
        loss: Mean loss of the batch, shape (); the loop calls `backward` on it in training.
        size: Number of samples the mean was taken over; epochs are pooled with it.
        outputs: For each name one tensor or list with an entry for every sample, detached. Kept whole over a
            validation or test pass, dropped in training.
        measures: Further numbers, detached: logged for every step as means over its samples, pooled by epoch. Each is
            the mean over the batch, shape (), or, which costs less in the loop, one number a sample, shape (size,).
    """

    loss: Tensor
    size: int
    outputs: Mapping[str, Any] = field(default_factory=dict)
    measures: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """A finished pass over a split, as `metrics`, `predictions` and `figures` get it.

    Args:
        split: `val` or `test`.
        epoch: Number of epochs trained before this pass.
        loss: Loss pooled over all samples.
        outputs: `StepOutput.outputs` of all batches, concatenated, on the CPU.
        samples: The split itself.
        data: All that `load_data` gave.
        ids: One name for every sample, in the order of `outputs`.
        device: The device that the model is on, for figures that ask the model something more.
    """

    split: str
    epoch: int
    loss: float
    outputs: Mapping[str, Any]
    samples: Samples
    data: DataSplits
    ids: Sequence[str]
    device: Any = "cpu"


@dataclass(frozen=True)
class Score:
    """The number that decides which epoch is best, such as `Score("accuracy")` or `Score("loss", "min")`.

    Where two epochs have the same score the one with the lower loss is the better one.
    """

    metric: str
    mode: str = "max"

    def better(self, value: float, best: float | None) -> bool:
        """Whether `value` beats `best`; the first value always does, NaN never."""
        if value != value:
            return False
        return best is None or (value > best if self.mode == "max" else value < best)


@dataclass(frozen=True)
class Task:
    """One kind of problem: its fields are its settings, its methods are all the loop needs.

    Subclass it as a frozen dataclass. Every field appears, with no other edit, as an option on the command line, in
    the YAML files, in `--help` (the text comes from the `Args` section of the docstring) and in the run's record.
    `step` and `load_data` are required; the rest has defaults. Import torch inside the methods or at the top of the
    file, as you like: the tasks that come with DeepDIVA import it inside, so that `--help` is quick.
    """

    preset: ClassVar[Mapping[str, Any]] = {}
    """Settings that suit the task (`{"epochs": 12, "model": "cnn"}`): above the defaults, below files and options."""

    score: ClassVar[Score] = Score("loss", "min")
    """What decides the best epoch: `loss` or a name that `metrics` gives, on the validation split."""

    kinds: ClassVar[Mapping[str, Kind]] = {}
    """For fields that hold components (a loss, transforms) what they may be: their mistakes are then reported before
    anything starts, together with all others, and every default of theirs is recorded."""

    statistics: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """No setting: numbers that `load_data` took from the training split (mean, std, class weights) and `step` uses.
    Plain values only; they are kept in the run folder and in every checkpoint."""

    def load_data(self, source: str | None) -> DataSplits:
        """The splits from `source`, the value of `--data`; raises `UserError` for data that cannot be used."""
        raise NotImplementedError

    def build_model(self, create: Callable[[], nn.Module]) -> nn.Module:
        """The network; `create` builds the one that the configuration names, with all its arguments."""
        return create()

    def step(self, model: nn.Module, batch: Any) -> StepOutput:
        """The loss and outputs of one batch on the model's device; the same for training and evaluation."""
        raise NotImplementedError

    def metrics(self, evaluation: Evaluation) -> Mapping[str, float]:
        """Numbers computed from the pooled outputs of a whole split, without the prefix `val/` or `test/`."""
        return {}

    def predictions(self, evaluation: Evaluation) -> Mapping[str, Sequence[Any]]:
        """One column a name, one row a sample, for `predictions/<split>.csv`; the `id` column is put in front."""
        return {}

    def figures(self, model: nn.Module, evaluation: Evaluation) -> Mapping[str, Image]:
        """Pictures of this pass, drawn from arrays; they go to `figures/` and TensorBoard.

        The model is in evaluation mode and computes no gradients (`torch.enable_grad` where a figure needs them).
        """
        return {}
