"""Whether a task, as configured, is bit-reproducible on this machine, and what each level of determinism costs."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepdiva.engine.determinism import LEVELS
from deepdiva.engine.progress import Progress
from deepdiva.errors import RunFailed, UserError
from deepdiva.experiments.fresh import train_fresh
from deepdiva.experiments.neutral import request_for
from deepdiva.runs.operations import first_difference, read_operations

if TYPE_CHECKING:
    from deepdiva.config import Config
    from deepdiva.runs.folder import RunFolder

_STEPS = 6
_SECONDS = 3.0  # that the steps of one level may take
_MOST = 60  # steps
_WARMING = 2  # first steps of a process, which are slower


@dataclass(frozen=True)
class Finding:
    """One answer.

    Args:
        name: The question, in a word or two.
        good: Whether it is as it should be; None for a mere figure.
        found: What was found.
        mend: What to do, where there is something to do.
    """

    name: str
    good: bool | None
    found: str
    mend: str | None = None


class Diagnosis:
    """Trains a few steps several times, each time in a process of its own, and compares.

    Args:
        config: The whole configuration, with a seed.
        folder: Where the trials are kept.
        progress: Gets the lines of the trainings.
    """

    def __init__(self, config: Config, folder: Path, progress: Progress | None = None) -> None:
        self._config, self._folder, self._progress = config, folder, progress
        self._level = config.determinism

    def findings(self) -> Iterator[Finding]:
        """Every answer as soon as it is known."""
        first = self._train(_STEPS)
        yield self._granted(first)
        steps = _enough(_seconds(first))
        again = self._train(max(steps, _STEPS))
        yield self._twice(first, again)
        yield self._seeds(first)
        yield from self._levels(again, steps)

    def _train(self, steps: int, settings: Mapping[str, Any] | None = None, **more: Any) -> RunFolder:
        quiet = {"logging.every": 1, "logging.figures": "none", "logging.tensorboard": False, "training.patience": None}
        request = request_for(self._config, self._folder, {**quiet, **(settings or {})}, until=steps, **more)
        return train_fresh(request, progress=self._progress)

    def _granted(self, run: RunFolder) -> Finding:
        determinism = run.record["determinism"]
        reasons = "; ".join(determinism["reasons"])
        good = determinism["granted"] == determinism["asked"]
        found = f"`{determinism['granted']}`" + ("" if good else f", not `{determinism['asked']}`: {reasons}")
        return Finding("level granted", good, found, None if good else "see the reasons; each names its alternative")

    def _twice(self, first: RunFolder, again: RunFolder) -> Finding:
        step = _parting(first, again)
        if step is None:
            count = min(len(_steps(first)), len(_steps(again)))
            return Finding("same bits twice", True, f"{count} steps in two processes: every digest is equal")
        try:
            operations = [self._operations(step, name) for name in ("first", "second")]
        except (UserError, RunFailed) as error:
            return Finding("same bits twice", False, f"no: step {step} differs ({error})")
        difference = first_difference(*operations)
        if difference is None:
            found = f"no: step {step} differs, but not when it was repeated under observation"
            return Finding("same bits twice", False, found, "run it again; something outside the step may draw")
        return Finding("same bits twice", False, f"no: step {step} differs. {difference.describe()}", _MEND)

    def _operations(self, step: int, name: str) -> Any:
        trace = self._folder / f"{name}.operations"
        self._train(step, trace=str(trace))
        return read_operations(trace)

    def _seeds(self, first: RunFolder) -> Finding:
        assert self._config.seed is not None
        other = self._train(_STEPS, {"seed": self._config.seed + 1})
        pairs = list(zip(_steps(first), _steps(other), strict=False))
        differing = {
            "order of the samples": any(one["batch"] != two["batch"] for one, two in pairs),
            "weights and losses": any((one["loss"], one["state"]) != (two["loss"], two["state"]) for one, two in pairs),
        }
        same = [name for name, differs in differing.items() if not differs]
        if not same:
            return Finding("seeds differ", True, f"seeds {first.record['seed']} and {other.record['seed']} really do")
        found = f"no: another seed gives the same {' and '.join(same)}"
        return Finding("seeds differ", False, found, "does the task set a seed of its own, or ignore the streams?")

    def _levels(self, own: RunFolder, steps: int) -> Iterator[Finding]:
        runs: dict[str, RunFolder] = {self._level: own}
        for level in LEVELS:
            if level not in runs:
                threads = {"threads": None} if level == "portable" else {}
                runs[level] = self._train(steps, {"determinism": level, **threads})
        base = _seconds(runs["seeded"])
        for level in LEVELS:
            seconds, run = _seconds(runs[level]), runs[level]
            granted = run.record["determinism"]["granted"]
            more = "" if granted == level else f" (not granted here: {'; '.join(run.record['determinism']['reasons'])})"
            cost = "the measure" if level == "seeded" else f"{100 * (seconds / base - 1):+.0f} %"
            found = f"{cost:>11}, {1000 * seconds:.2f} ms a step{more}"
            yield Finding(f"level {level}", None, found)


_MEND = "use what has a deterministic form, and draw only from torch, numpy or random inside the task's methods"


def diagnose(config: Config, *, progress: Progress | None = None) -> Iterator[Finding]:
    """Trains `config` for a few steps again and again, and says what that shows.

    Twice the same, once with another seed, and once at each level of determinism; about half a minute with a small
    model, most of it the start of six processes. Nothing is kept.

    Args:
        config: The whole configuration, with a seed.
        progress: Gets the lines of the trainings.

    Raises:
        UserErrors: The configuration has mistakes.
        RunFailed: A training failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        yield from Diagnosis(config, Path(folder), progress).findings()


def _steps(run: RunFolder) -> list[Mapping[str, Any]]:
    return [line for line in run.fingerprints() if "loss" in line]


def _parting(first: RunFolder, again: RunFolder) -> int | None:
    """The first step that differs among those that both have done."""
    pairs = zip(_steps(first), _steps(again), strict=False)
    return next((int(one["step"]) for one, two in pairs if one != two), None)


def _seconds(run: RunFolder) -> float:
    """The lower quartile of the times of the steps, without the first ones: what else runs here only adds to them."""
    tag = "system/step_seconds"
    times: list[float] = [event["values"][tag] for event in run.events(tag)]
    measured = times[_WARMING:] if len(times) > _WARMING + 1 else times
    return statistics.quantiles(measured, n=4)[0] if len(measured) > 1 else measured[0]


def _enough(seconds: float) -> int:
    """How many steps are worth measuring: as many as the time allows."""
    return max(_WARMING + 2, min(_MOST, int(_SECONDS / seconds)))
