"""What a run checks of its own determinism: its data before anything, its first step on a copy, its numbers at the end.

A level is granted after these checks, and what they showed is in the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from deepdiva.engine.determinism import LEVELS, Determinism
from deepdiva.errors import Problem, UserErrors
from deepdiva.experiments.components import build_optimizer
from deepdiva.runs.numerics import NAME

if TYPE_CHECKING:
    import torch
    from torch import nn

    from deepdiva.config import Config
    from deepdiva.engine.progress import Progress
    from deepdiva.engine.seeding import Streams
    from deepdiva.engine.task import DataSplits, Task
    from deepdiva.runs.run import Run


def check_positions(data: DataSplits) -> None:
    """Every sample must have a position: only then do order, workers and a resume not change what is read.

    Raises:
        UserErrors: Splits that can only be gone through from their beginning, or are empty.
    """
    from torch.utils.data import IterableDataset

    problems = []
    for name, split in (("train", data.train), ("val", data.val), ("test", data.test)):
        if split is None:
            continue
        if isinstance(split, IterableDataset) or not _has_positions(split):
            message = (
                f"the {name} split ({type(split).__name__}) can only be gone through from its beginning: its samples "
                "have no position, so that a resume or a loader process would change which ones are read"
            )
            hint = (
                "give it `__len__` and `__getitem__(index)`; images in a folder that do not fit into memory are read "
                "so by `deepdiva.data.streaming`"
            )
            problems.append(Problem(message, hint=hint))
        elif len(split) == 0:
            hint = "look at the data, or at the task's load_data"
            problems.append(Problem(f"the {name} split has no samples", hint=hint))
    if problems:
        raise UserErrors(problems)


def rehearse_first_step(
    run: Run,
    config: Config,
    task: Task,
    data: DataSplits,
    model: nn.Module,
    *,
    streams: Streams,
    device: torch.device,
    progress: Progress,
) -> None:
    """Computes the first step on a copy of the model, unless the record says that this was done, and records it.

    Args:
        run: The run.
        config: Its whole configuration.
        task: Its task.
        data: Its splits.
        model: Its model, as the training begins.
        streams: Its streams of randomness.
        device: Where it computes.
        progress: Is told when the level is lowered.

    Raises:
        UserErrors: The step needs operations that the level does not allow; each is named, with what to use instead.
    """
    from deepdiva.engine.device import autocast
    from deepdiva.engine.rehearsal import rehearse

    before: Mapping[str, Any] = run.facts["determinism"]
    if before.get("rehearsal", {}).get("passed"):
        return
    found = rehearse(
        task,
        model,
        data.train,
        batch_size=config.batch_size,
        create_optimizer=partial(build_optimizer, config),
        context=autocast(device, config.precision),
        streams=streams,
        device=device,
    )
    found.require(config.determinism)
    run.record(determinism={"rehearsal": found.to_mapping()})
    if before["granted"] == "portable":
        _lower(run, Determinism("portable", "portable", before["threads"], tuple(before["reasons"])), found, progress)


def keep_numerics(run: Run, device: torch.device) -> None:
    """Keeps the numeric fingerprint of this process, measured once for each machine and setting."""
    from deepdiva.engine.numerics import fingerprint

    found = fingerprint(device)
    run.write_text(NAME, found.to_text())
    run.record(digests={"numerics": found.digest})


def say_what_is_granted(granted: Determinism, progress: Progress) -> None:
    """Tells why a run has a lower level of determinism than it was asked for."""
    for reason in granted.reasons:
        progress.line(f"determinism `{granted.asked}` is not granted, only `{granted.granted}`: {reason}")


def _lower(run: Run, granted: Determinism, found: Any, progress: Progress) -> None:
    """Takes the portable level back where the step would have other bits on another processor."""
    reasons = []
    for alert in found.by_processor:
        instead = f"; instead: {alert.alternative}" if alert.alternative else ""
        reasons.append(f"the last bits of {alert} depend on the processor{instead}")
    lowered = granted.lowered(LEVELS[LEVELS.index("portable") - 1], reasons)
    if lowered is not granted:
        run.record(determinism=lowered.to_mapping())
        say_what_is_granted(lowered, progress)


def _has_positions(split: Any) -> bool:
    return callable(getattr(split, "__len__", None)) and callable(getattr(split, "__getitem__", None))
