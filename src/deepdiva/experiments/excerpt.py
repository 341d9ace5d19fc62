"""A part of a training, or a training that begins a hair's breadth beside another: what proofs and searches need."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deepdiva.engine import checkpoint

if TYPE_CHECKING:
    from torch import nn

    from deepdiva.config import Config
    from deepdiva.engine.seeding import Streams
    from deepdiva.engine.task import DataSplits
    from deepdiva.runs.storage import Storage


@dataclass(frozen=True)
class Excerpt:
    """Where a training begins and ends, and what is recorded of its last step; by default all of it, and nothing.

    Args:
        start: The folder of the checkpoint to begin from, of this run or of another; None for the first step.
        until: The last optimizer step; the test split is not read then. None for the whole training.
        nudge: The number of a perturbation: every initial weight moves to a neighbouring float, as its stream says.
        trace: The file for the operations of the step `until`; its samples go into `sample_file(trace)`.
    """

    start: Path | None = None
    until: int | None = None
    nudge: int | None = None
    trace: Path | None = None

    def __post_init__(self) -> None:
        if self.start is not None and self.nudge is not None:
            raise ValueError("a training that begins at a checkpoint has no initial weights to perturb")
        if self.trace is not None and self.until is None:
            raise ValueError("say with `until` which step is to be traced")

    def first_checkpoint(self) -> checkpoint.Checkpoint | None:
        """The checkpoint to begin from, every byte of it checked."""
        return None if self.start is None else checkpoint.load(self.start)

    def perturb(self, model: nn.Module, streams: Streams) -> None:
        """Moves the initial weights, where that is asked for."""
        if self.nudge is not None:
            from deepdiva.engine.nudge import nudge

            nudge(model, streams.key("nudge", self.nudge))

    def watcher(self, model: nn.Module) -> Callable[[], AbstractContextManager[None]] | None:
        """What the last step runs in, where its operations are wanted."""
        if self.trace is None:
            return None
        from deepdiva.engine.tracing import tracing

        return partial(tracing, self.trace, model, Path.cwd())

    def record_samples(self, data: DataSplits, config: Config, streams: Streams, storage: Storage) -> None:
        """Writes a hash of every sample of the last step, where its operations are wanted."""
        if self.trace is None or self.until is None:
            return
        from deepdiva.engine.sample_digests import sample_digests

        found = sample_digests(
            data.train,
            batch_size=config.batch_size,
            accumulate=config.training.accumulate,
            step=self.until,
            streams=streams,
        )
        storage.write(sample_file(self.trace), json.dumps(found).encode())


def sample_file(trace: Path) -> Path:
    """Where the samples of a traced step are, by the file of its operations.

    >>> sample_file(Path("step.operations")).name
    'step.operations.samples.json'
    """
    return trace.with_name(f"{trace.name}.samples.json")
