"""Whether looking at a training changes it: the same configuration, watched in every way there is, gives one digest."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepdiva.config.layers import put
from deepdiva.engine.progress import Progress
from deepdiva.experiments.fresh import Request, train_fresh
from deepdiva.runs.divergence import first_divergence

if TYPE_CHECKING:
    from deepdiva.config import Config
    from deepdiva.runs.folder import RunFolder

_NOTHING = {
    "logging.every": 0,
    "logging.tensorboard": False,
    "logging.figures": "none",
    "logging.predictions": False,
    "workers": 0,
}
_EVERYTHING = {
    "logging.every": 1,
    "logging.tensorboard": True,
    "logging.figures": "validation",
    "logging.predictions": True,
}
VARIATIONS: Mapping[str, Mapping[str, Any]] = {
    "nothing logged": _NOTHING,
    "everything logged and drawn": _EVERYTHING,
    "everything, without TensorBoard": {**_EVERYTHING, "logging.tensorboard": False},
    "validation after every step": {**_NOTHING, "logging.validate_steps": 1},
    "validation after every 10 steps": {**_EVERYTHING, "logging.validate_steps": 10},
    "a checkpoint every 3 steps": {**_NOTHING, "training.checkpoint_every": 3},
    "two loader workers": {**_NOTHING, "workers": 2},
}
"""What is varied, by name: settings that watch a training or feed it, none of which may change a bit."""


@dataclass(frozen=True)
class Outcome:
    """How one variation ended.

    Args:
        name: What was varied.
        weights: SHA-256 of the final weights.
        state: SHA-256 of weights, optimizer and schedule.
        same: Whether both are those of the first variation, and every step on the way.
        detail: Where the two trainings part; empty where they do not.
    """

    name: str
    weights: str
    state: str
    same: bool
    detail: str = ""


def neutral(
    config: Config,
    *,
    variations: Mapping[str, Mapping[str, Any]] = VARIATIONS,
    progress: Progress | None = None,
) -> Iterator[Outcome]:
    """Trains `config` once for each variation, each in a process of its own, and compares every step with the first.

    Args:
        config: The whole configuration, with a seed.
        variations: Settings by their dotted paths, for each variation.
        progress: Gets the lines of the trainings.

    Raises:
        UserErrors: The configuration has mistakes.
        RunFailed: A training failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        first: RunFolder | None = None
        for name, settings in variations.items():
            run = train_fresh(request_for(config, Path(folder), settings), progress=progress)
            first = first or run
            yield _compare(name, first, run)


def request_for(config: Config, runs_dir: Path, settings: Mapping[str, Any] | None = None, **more: Any) -> Request:
    """A training of `config` here, kept in `runs_dir`, with some settings (by dotted paths) replaced.

    Args:
        config: The whole configuration.
        runs_dir: Where the run is kept. The code need not be committed: no result is taken from such a run.
        settings: What differs.
        more: Further fields of the request.
    """
    values = copy.deepcopy(config.to_mapping())
    for path, value in {**(settings or {}), "runs_dir": str(runs_dir), "allow_dirty": True}.items():
        put(values, path, value)
    return Request(values, str(Path.cwd()), **more)


def _compare(name: str, first: RunFolder, run: RunFolder) -> Outcome:
    weights, state = run.digests["weights"], run.digests["state"]
    same = (weights, state) == (first.digests["weights"], first.digests["state"]) and _steps(first) == _steps(run)
    found = None if same else first_divergence(first, run)
    return Outcome(name, weights, state, same, "" if found is None else found.describe())


def _steps(run: RunFolder) -> list[Mapping[str, Any]]:
    return list(run.fingerprints())
