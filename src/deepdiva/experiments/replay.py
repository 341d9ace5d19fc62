"""Repeats one step of a run from the nearest checkpoint before it, under its own code, settings and variables."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepdiva.config.layers import put
from deepdiva.engine import checkpoint
from deepdiva.engine.progress import Progress
from deepdiva.experiments.checkout import Checkout
from deepdiva.experiments.excerpt import sample_file
from deepdiva.experiments.fresh import Request, train_fresh
from deepdiva.runs import environment
from deepdiva.runs.difference import table
from deepdiva.runs.folder import RunFolder
from deepdiva.runs.operations import Recording, read_recording
from deepdiva.runs.reading import largest, parse_json, read_bytes

_numbers = itertools.count()


@dataclass(frozen=True)
class World:
    """What a run's steps depend on, so that any of it can be exchanged for that of another run.

    Args:
        run: The run.
        config: Its configuration.
        variables: The variables of its environment that differ from those of this process.
        code: Its restored code.
        owner: The run whose code that is.
        data_of: The run whose data are read; None for its own.
    """

    run: RunFolder
    config: Mapping[str, Any]
    variables: Mapping[str, str | None]
    code: Checkout
    owner: RunFolder
    data_of: RunFolder | None = None

    @classmethod
    def of(cls, run: RunFolder, code: Checkout) -> World:
        """The world of a run as its folder describes it."""
        return cls(run, run.config(), own_variables(run), code, run)

    def with_setting(self, path: str, value: Any) -> World:
        """The same with another value of one setting."""
        config = copy.deepcopy(dict(self.config))
        put(config, path, value)
        return replace(self, config=config)

    def with_variables(self, variables: Mapping[str, str | None]) -> World:
        """The same with some other variables; None takes one away."""
        return replace(self, variables={**self.variables, **variables})

    def with_code(self, other: World) -> World:
        """The same with the code of another run."""
        return replace(self, code=other.code, owner=other.owner)


@dataclass(frozen=True)
class Replay:
    """What came of repeating some steps.

    Args:
        fingerprints: Those of the repeated steps, by step.
        recording: The operations of the last of them; None where they were not recorded.
        samples: For each sample of the last step its name and a hash of its content, in their order.
    """

    fingerprints: Mapping[int, Mapping[str, Any]]
    recording: Recording | None = None
    samples: Mapping[str, str] | None = None

    def agrees_with(self, run: RunFolder) -> bool:
        """Whether every repeated step has the fingerprint that it has in `run`."""
        kept = steps_of(run)
        return all(kept.get(step) == line for step, line in self.fingerprints.items()) and bool(self.fingerprints)


def replay(
    world: World,
    step: int,
    folder: Path,
    *,
    whole: bool = False,
    trace: bool = False,
    progress: Progress | None = None,
) -> Replay:
    """Repeats the steps of a run up to `step`, from the newest checkpoint before it, or else from the beginning.

    Args:
        world: What it runs under.
        step: The last optimizer step.
        folder: Where the run that does it is kept.
        whole: Whether it starts from the beginning: a checkpoint holds weights, learning rates and more that were
            made under the settings of its run.
        trace: Whether the operations and the samples of that step are recorded.
        progress: Gets the lines of the training.

    Raises:
        UserError: It cannot be repeated here: data have changed, a package is missing, …
        RunFailed: It failed.
    """
    target = folder / f"step-{next(_numbers)}.operations" if trace else None
    request = Request(
        config={**world.config, "runs_dir": str(folder), "logging": _quiet(world.config)},
        directory=str(world.code.directory),
        kind="replay",
        parent=world.run.id,
        code=str(world.owner.path.resolve() / "code"),
        start=None if whole else _start(world.run, step),
        until=step,
        trace=None if target is None else str(target),
        repeats=str((world.data_of or world.run).path.resolve()),
        variables=world.variables,
        python_path=world.code.python_path,
    )
    run = train_fresh(request, progress=progress)
    if target is None:
        return Replay(steps_of(run))
    samples = sample_file(target)
    found = table(parse_json(read_bytes(samples, limit=largest(samples.name)), samples))
    return Replay(steps_of(run), read_recording(target), {name: str(digest) for name, digest in found.items()})


def steps_of(run: RunFolder) -> dict[int, Mapping[str, Any]]:
    """The fingerprints of a run by step, those of epochs apart."""
    return {int(line["step"]): line for line in run.fingerprints() if "loss" in line}


def own_variables(run: RunFolder) -> dict[str, str | None]:
    """The variables that could change a result, as the run had them, where they are others now."""
    record = run.document("environment/environment.json") or {}
    then, now = table(record.get("variables")), environment.relevant_variables()
    names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    return {name: None if then.get(name) is None else str(then[name]) for name in names}


def _quiet(config: Mapping[str, Any]) -> dict[str, Any]:
    """What is logged changes no bit, and of a replay it is not needed."""
    return {**config.get("logging", {}), "figures": "none", "tensorboard": False, "predictions": False, "every": 0}


def _start(run: RunFolder, step: int) -> str | None:
    """The newest whole checkpoint before a step."""
    directory = run.path.resolve() / "checkpoints"
    for kept in checkpoint.steps(directory):
        if kept < step:
            try:
                return str(checkpoint.load(checkpoint.folder(directory, kept)).path)
            except checkpoint.CheckpointError:
                continue
    return None
