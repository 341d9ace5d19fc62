"""Kills a training again and again, resumes it each time, and compares what comes out with one that was left alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deepdiva.engine.progress import Progress, SilentProgress
from deepdiva.errors import RunFailed
from deepdiva.experiments.fresh import Request, train_fresh
from deepdiva.experiments.neutral import request_for
from deepdiva.runs.comparison import compare
from deepdiva.runs.divergence import first_divergence
from deepdiva.runs.folder import RunFolder

if TYPE_CHECKING:
    from deepdiva.config import Config


_LOGGED = {"logging.every": 1}  # the instants are taken from the times of the steps; what is logged changes no bit


@dataclass(frozen=True)
class Kill:
    """One SIGKILL.

    Args:
        step: The last optimizer step done before it, counted from the first of the training.
        delay: Seconds from the end of that step to the signal.
    """

    step: int
    delay: float


@dataclass(frozen=True)
class Outcome:
    """How the training that was killed compares with the one that was not.

    Args:
        kills: Where it was killed.
        planned: How many kills were asked for; a training that ends before the last is not killed any more.
        same: Whether weights, optimizer, every step, every logged number and every prediction have the same bits.
        detail: What differs first; empty where nothing does.
        undisturbed: The folder of the one.
        killed: The folder of the other.
    """

    kills: tuple[Kill, ...]
    planned: int
    same: bool
    detail: str
    undisturbed: Path
    killed: Path


def chaos(config: Config, *, kills: int, draw: int, folder: Path, progress: Progress | None = None) -> Outcome:
    """Trains once undisturbed and once with `kills` SIGKILLs at random instants, and compares.

    Half of the instants lie within a step somewhere in the training, half in what follows the last step of an epoch:
    validation, figures, checkpoint. Both trainings and every resume have a process of their own.

    Args:
        config: The whole configuration, with a seed.
        kills: How often the second training is killed.
        draw: The seed of the instants.
        folder: Where the two runs are kept.
        progress: Gets the lines of the trainings.

    Raises:
        UserErrors: The configuration has mistakes.
        RunFailed: A training failed by itself.
    """
    watcher = progress or SilentProgress()
    undisturbed = train_fresh(request_for(config, folder / "undisturbed", _LOGGED), progress=watcher)
    planned = instants(undisturbed, kills, random.Random(draw))
    request = request_for(config, folder / "killed", _LOGGED)
    done: list[Kill] = []
    run: RunFolder | None = None
    for instant in planned:
        watcher.line(f"kill {len(done) + 1} of {kills}: {instant.delay:.3f} s after step {instant.step}")
        reached = 0 if run is None else last_checkpoint(run)
        run = _train_until_killed(_from_here(request, run), max(0, instant.step - reached), instant.delay, watcher)
        if run.status == "completed":
            break
        done.append(instant)
    if run is None or run.status != "completed":
        run = train_fresh(_from_here(request, run), progress=watcher)
    return _outcome(undisturbed, run, done, kills)


def instants(run: RunFolder, count: int, numbers: random.Random) -> list[Kill]:
    """Where to kill a training that goes as `run` went, in the order of the steps.

    >>> [kill.step for kill in instants(RunFolder(Path("nowhere"), {}), 2, random.Random(0))]
    [0, 0]
    """
    times = {event["step"]: event["time"] for event in run.events() if "system/step_seconds" in event["values"]}
    last_steps = {event["step"] for event in run.events() if "system/epoch_seconds" in event["values"]}
    steps = sorted(times)
    pauses = [times[step + 1] - times[step] for step in steps if step in last_steps and step + 1 in times]
    strides = [times[step + 1] - times[step] for step in steps if step not in last_steps and step + 1 in times]
    found = []
    for number in range(count):
        ends, waits = (sorted(last_steps), pauses) if number % 2 else (steps, strides)
        longest = max(waits, default=0.2)
        found.append(Kill(numbers.choice(ends or [0]), numbers.uniform(0, longest)))
    return sorted(found, key=lambda kill: (kill.step, kill.delay))


def last_checkpoint(run: RunFolder) -> int:
    """The step of the newest checkpoint folder of a run, 0 without one; it need not be whole."""
    names = [path.name.removeprefix("step-") for path in (run.path / "checkpoints").glob("step-*")]
    return max((int(name) for name in names if name.isdecimal()), default=0)


def _from_here(request: Request, run: RunFolder | None) -> Request:
    """The request to begin, or to go on with `run`."""
    return request if run is None else replace(request, resume=str(run.path))


def _train_until_killed(request: Request, steps: int, delay: float, progress: Progress) -> RunFolder:
    """The run as it lies there after the signal, or completed where it was quicker."""
    try:
        return train_fresh(replace(request, kill=(steps, delay)), progress=progress)
    except RunFailed as error:
        if "signal 9" not in error.message:
            raise
    if request.resume is not None:
        return RunFolder.open(request.resume)
    return RunFolder.open(next(Path(str(request.config["runs_dir"])).glob("*/*/run.json")).parent)


def _outcome(undisturbed: RunFolder, killed: RunFolder, done: Sequence[Kill], planned: int) -> Outcome:
    same = compare(undisturbed, killed).same_bits
    found = None if same else first_divergence(undisturbed, killed)
    detail = "" if same else "the digests differ" if found is None else found.describe()
    return Outcome(tuple(done), planned, same, detail, undisturbed.path, killed.path)
