"""Keeps what every step gave as detached tensors, and writes it to the run by the block.

A step must not wait for its loss: on a GPU that is a synchronisation, and even on a CPU a line written for every step
costs more than a small network. So values stay tensors until a block is full or a second has passed, and then take
one transfer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from deepdiva.engine.fingerprint import batch_digest, loss_bits, step_digest
from deepdiva.errors import RunFailed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from deepdiva.runs.run import Run

_BLOCK = 64
_SECONDS = 1.0


class StepRecord(NamedTuple):
    """One optimizer step: tensors that are not yet read, and what is known without reading them."""

    step: int
    epoch: int
    size: int
    loss: Tensor
    measures: Mapping[str, Tensor]
    learning_rate: float
    state: Sequence[int] | Tensor
    batches: list[NDArray[np.int64]]
    seconds: float
    wall: float


@dataclass
class EpochSums:
    """Sums over the samples of an epoch so far, in the order of the steps: they go into a checkpoint."""

    size: int = 0
    totals: dict[str, float] = field(default_factory=dict)

    def add(self, size: int, values: Mapping[str, float]) -> None:
        """Adds means over `size` samples."""
        self.size += size
        for name, value in values.items():
            self.totals[name] = self.totals.get(name, 0.0) + value * size

    def means(self) -> dict[str, float]:
        """The means over all samples added."""
        return {name: total / self.size for name, total in self.totals.items()}


class StepRecorder:
    """Collects the steps of a training and writes them to a run.

    Args:
        run: Where events and fingerprints go.
        every: Every how many steps a step's values become an event; 0 for none. Fingerprints are kept of all steps.
        names: The names of the training samples, for the message about a loss that is not finite.
    """

    def __init__(self, run: Run, *, every: int, names: Sequence[str]) -> None:
        self.sums = EpochSums()
        self.last_loss: float | None = None
        self._run = run
        self._every = every
        self._names = names
        self._pending: list[StepRecord] = []
        self._written = time.time()
        self._noticed: dict[int, Callable[[Mapping[str, Any]], None]] = {}

    def notice(self, step: int, tell: Callable[[Mapping[str, Any]], None]) -> None:
        """Lets `tell` know the fingerprint of a step when it is written."""
        self._noticed[step] = tell

    def add(self, record: StepRecord) -> None:
        """Takes one step; now and then this writes a block."""
        self._pending.append(record)
        if len(self._pending) >= _BLOCK or record.wall - self._written > _SECONDS:
            self.write()

    def write(self) -> None:
        """Writes what is pending.

        Raises:
            RunFailed: A loss was not finite; what came before it, and the step itself, is written.
        """
        pending, self._pending = self._pending, []
        self._written = time.time()
        if not pending:
            return
        names = ["loss", *pending[0].measures]
        columns = [_read([record.loss for record in pending])]
        columns += [_read_means([record.measures[name] for record in pending]) for name in names[1:]]
        rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        states = _read_states([record.state for record in pending])
        bad = next((place for place, row in enumerate(rows) if not math.isfinite(row["loss"])), None)
        end = len(rows) if bad is None else bad + 1
        self._write_rows(pending[:end], rows[:end], states[:end])
        if bad is not None:
            self._fail(pending[bad], rows[bad]["loss"])

    def _write_rows(
        self, records: Sequence[StepRecord], rows: Sequence[Mapping[str, float]], states: Sequence[str]
    ) -> None:
        events: list[dict[str, Any]] = []
        fingerprints: list[dict[str, Any]] = []
        for record, row, state in zip(records, rows, states, strict=True):
            self.sums.add(record.size, row)
            fingerprints.append(_fingerprint(record, row["loss"], state))
            if self._every and record.step % self._every == 0:
                events.append(_event(record, row))
        self.last_loss = rows[-1]["loss"]
        self._run.log_block(events)
        self._run.fingerprint_block(fingerprints)
        for fingerprint in fingerprints if self._noticed else ():
            tell = self._noticed.pop(fingerprint["step"], None)
            if tell is not None:
                tell(fingerprint)

    def _fail(self, record: StepRecord, loss: float) -> None:
        names = [self._names[index] for indices in record.batches for index in indices.tolist()]
        shown = ", ".join(names[:8]) + (f", … ({len(names)} samples)" if len(names) > 8 else "")
        raise RunFailed(
            f"the loss is {loss} at step {record.step} (epoch {record.epoch}); the batch was: {shown}",
            "lower --optimizer.lr, set --training.clip-norm 1.0, or look at these samples",
        )


def fingerprint_of(record: StepRecord) -> dict[str, Any]:
    """The fingerprint of one step, read now."""
    return _fingerprint(record, _read([record.loss])[0], _read_states([record.state])[0])


def _fingerprint(record: StepRecord, loss: float, state: str) -> dict[str, Any]:
    return {"step": record.step, "loss": loss_bits(loss), "batch": batch_digest(record.batches), "state": state}


def _event(record: StepRecord, row: Mapping[str, float]) -> dict[str, Any]:
    values = {f"train/batch/{name}": value for name, value in row.items()}
    values["train/batch/learning_rate"] = record.learning_rate
    values["system/step_seconds"] = record.seconds
    return {"step": record.step, "epoch": record.epoch, "values": values, "time": record.wall}


def _read(tensors: list[Tensor]) -> list[float]:
    import torch

    return torch.stack(tensors).tolist()


def _read_means(tensors: list[Tensor]) -> list[float]:
    """The means of measures, whether they came as means or with one number for every sample.

    Each is computed by itself, so that it does not depend on the block it is read in.
    """
    import numpy as np
    import torch

    if all(tensor.ndim == 0 for tensor in tensors):
        return _read(tensors)
    tensors = [tensor.reshape(-1) for tensor in tensors]  # the last step may be one batch, which came unpooled
    sizes = [len(tensor) for tensor in tensors]
    numbers = torch.cat(tensors).cpu().double().numpy()
    sums = np.add.reduceat(numbers, [0, *accumulate(sizes[:-1])])
    return (sums / sizes).tolist()  # type: ignore[no-any-return]


def _read_states(states: list[Sequence[int] | Tensor]) -> list[str]:
    import torch

    numbers = [state for state in states if not isinstance(state, torch.Tensor)]
    tensors = [state for state in states if isinstance(state, torch.Tensor)]
    if tensors:
        numbers += torch.stack(tensors).cpu().numpy().tolist()
    return [step_digest(row) for row in numbers]
