"""Does a run reproduce? Trains it again from its own code and data, compares, and gives a verdict.

restore the code, prove the data, list every difference       preparation
train in a fresh process, same seed and threads               fresh
the same bits? done                                           runs.comparison
else: train again from weights a hair's breadth beside        envelope
and, when asked, with fresh seeds on both sides               replication
decide, and write the verdict and its evidence down           verdict
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deepdiva.engine.progress import SilentProgress
from deepdiva.errors import RunFailed, UserError
from deepdiva.experiments import replication
from deepdiva.experiments.envelope import MOST_RERUNS, RERUNS, EnvelopeResult, Trajectory, inside, trajectory
from deepdiva.experiments.fresh import Request, train_fresh
from deepdiva.experiments.preparation import Listener, Preparation, Silence, Wishes, prepared
from deepdiva.experiments.replication import Effort, Replication
from deepdiva.experiments.verdict import BIT_IDENTICAL, SAME_EXPERIMENT, Evidence, Verdict, decide
from deepdiva.runs import integrity
from deepdiva.runs.comparison import Comparison, compare
from deepdiva.runs.divergence import Divergence, first_divergence
from deepdiva.runs.folder import RunFolder, find_runs
from deepdiva.runs.record import amend
from deepdiva.runs.storage import Storage, plain

EVIDENCE = "reproduction.json"
QUIET = {"figures": "none", "tensorboard": False}


class Lines(SilentProgress):
    """Passes the lines of a training on."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def line(self, text: str) -> None:
        """One line."""
        self._listener.line(text)


@dataclass(frozen=True)
class Reproduction:
    """What came of it.

    Args:
        original: The run that was to be reproduced.
        run: The new run; None where none began.
        verdict: The answer.
        comparison: What the two have in common; None where the new run did not come to its end.
        divergence: The first place where they part.
        envelope: What the perturbed trainings say.
        replication: What fresh seeds say.
    """

    original: RunFolder
    run: RunFolder | None
    verdict: Verdict
    comparison: Comparison | None = None
    divergence: Divergence | None = None
    envelope: EnvelopeResult | None = None
    replication: Replication | None = None


def reproduce(
    original: RunFolder,
    wishes: Wishes | None = None,
    effort: Effort | None = None,
    *,
    listener: Listener | None = None,
) -> Reproduction:
    """Trains a run again and compares; executes the code of that run.

    The new run keeps the verdict, and the evidence in `reproduction.json`; the original is not touched.

    Args:
        original: A completed run.
        wishes: What is to be other than it was.
        effort: What is done where the bits are not the same.
        listener: Whoever is told.

    Raises:
        UserError: Something is missing or has changed; nothing was trained.
        KeyboardInterrupt: The new run is kept as `interrupted`.
    """
    wishes, effort, listener = wishes or Wishes(), effort or Effort(), listener or Silence()
    replication.check(original, effort)
    with prepared(original, wishes, listener.line) as preparation:
        listener.prepared(preparation)
        if effort.replicates:
            listener.stage("should the bits not be the same: fresh seeds")
            for line in replication.plan(original, replication.siblings(original, effort.originals), effort):
                listener.line(line)
        listener.stage("training again, in a fresh process")
        run, failure = _train(preparation.request, original, listener)
        if run is None or failure is not None:
            said = Evidence(
                failure=f"the repetition fails: {failure.message}" if failure else "the repetition left no run"
            )
            result = Reproduction(original, run, decide(said))
        else:
            with _interruptible(original, run):
                result = _judge(original, run, preparation, effort, listener)
    return _write_down(result, preparation)


def _train(request: Request, original: RunFolder, listener: Listener) -> tuple[RunFolder | None, RunFailed | None]:
    """The new run, and why it failed where it did."""
    before = _children(request)
    try:
        with _interruptible(original, None, request, before):
            return train_fresh(request, progress=Lines(listener)), None
    except RunFailed as failure:
        return _own(request, before), failure


@contextmanager
def _interruptible(
    original: RunFolder, run: RunFolder | None, request: Request | None = None, before: frozenset[str] = frozenset()
) -> Iterator[None]:
    """Says after Ctrl-C how to begin anew: a reproduction is not resumed, for its code is gone."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        found = _own(request, before) if run is None and request is not None else run
        interruption.__notes__ = [f"the run is kept: {found.path}"] if found else []
        interruption.add_note(f"to begin anew: deepdiva reproduce {original.path}")
        if found is not None:
            _amend(found, original)
        raise


def _children(request: Request) -> frozenset[str]:
    """Ids of the runs that stand beside the coming one."""
    return frozenset(run.id for run in find_runs(str(request.config["runs_dir"])))


def _own(request: Request, before: frozenset[str]) -> RunFolder | None:
    """The run that a request made, although its process gave no answer; None where it made none.

    Another reproduction of the same run may stand beside it. From the moment that there is a run it says where its
    process worked: in the copy of the code that this request alone has.
    """
    directory, host = Path(request.directory).resolve(), os.uname().nodename
    for run in find_runs(str(request.config["runs_dir"])):
        stated = run.record.get("directory")
        if run.id in before or stated is None or _host(run) != host:
            continue
        if Path(os.path.normpath(run.path.resolve() / str(stated))) == directory:
            return run
    return None


def _judge(
    original: RunFolder, run: RunFolder, preparation: Preparation, effort: Effort, listener: Listener
) -> Reproduction:
    """Compares, and looks closer where the bits are not the same."""
    comparison = compare(original, run)
    divergence, envelope, seeds = None, None, None
    if not comparison.same_bits:
        divergence = first_divergence(original, run)
        envelope = _measure_rounding(original, run, preparation, effort, listener) if effort.reruns else None
        if effort.replicates:
            seeds = replication.replicate(original, run, preparation.request, effort, listener)
    metric = _metric(original, effort)
    said = Evidence(
        same_bits=comparison.same_bits,
        failure="" if seeds is None else seeds.failure,
        envelope=envelope,
        test=None if seeds is None else seeds.test,
        metric=metric,
        original=original.results.get(metric),
        reproduced=run.results.get(metric),
        parted="" if divergence is None else divergence.describe(),
    )
    # Data that are known by a name are compared by the training: what it then read, its digest says.
    changed = preparation.request.allow_changed_data and comparison.equal["data"] is False
    verdict = _of_changed_data(said) if preparation.data_changed or changed else decide(said)
    return Reproduction(original, run, verdict, comparison, divergence, envelope, seeds)


def _metric(original: RunFolder, effort: Effort) -> str:
    """What is shown of both runs; empty for a run without results."""
    return replication.metric_of(original, effort.metric) if original.results else ""


def _of_changed_data(said: Evidence) -> Verdict:
    """On other data it is no repetition, whatever it comes to; fresh seeds may still show the same result."""
    verdict = decide(said)
    if verdict.name == BIT_IDENTICAL or verdict.form == SAME_EXPERIMENT:
        return decide(replace(said, failure="the data are not those of the original"))
    return replace(verdict, reason=f"{verdict.reason}; the data are not those of the original")


def _measure_rounding(
    original: RunFolder, run: RunFolder, preparation: Preparation, effort: Effort, listener: Listener
) -> EnvelopeResult:
    """Trains again from perturbed weights, and more often where a first look is not enough."""
    listener.stage(f"not the same bits: {effort.reruns} trainings measure how far rounding leads")
    here, there = trajectory(run), trajectory(original)
    reruns: list[Trajectory] = []
    precision = str(original.config().get("precision", "float32"))
    most = effort.reruns if effort.reruns < RERUNS else max(effort.reruns, MOST_RERUNS)
    with TemporaryDirectory(prefix="deepdiva-reruns-") as folder:
        while True:
            while len(reruns) < effort.reruns:
                try:
                    reruns.append(_rerun(preparation.request, run, len(reruns) + 1, Path(folder), listener))
                except UserError as error:  # what was trained so far is not lost by it
                    problem = f"a perturbed training fails: {error.message}"
                    return EnvelopeResult(False, None, inf, 0, len(reruns), None, problem, problem)
            result = inside(there, here, reruns, precision=precision)
            if result.inside or not result.gradual or len(reruns) >= most:
                return result
            effort = replace(effort, reruns=min(most, len(reruns) + RERUNS))
            listener.line(f"{result.detail}: {effort.reruns - len(reruns)} more trainings")


def _rerun(request: Request, run: RunFolder, number: int, folder: Path, listener: Listener) -> Trajectory:
    """One training that differs from the reproduction by one unit in the last place of its initial weights."""
    logging = {**request.config.get("logging", {}), **QUIET}
    config = {**request.config, "runs_dir": str(folder), "logging": logging}
    done = train_fresh(replace(request, config=config, kind="rerun", parent=run.id, nudge=number))
    result = trajectory(done)
    listener.line(f"perturbed training {number}: last loss {result.losses[-1]:.6g}")
    return result


def _write_down(result: Reproduction, preparation: Preparation) -> Reproduction:
    """The verdict into the new run's `run.json`, and all that it rests on beside it."""
    run = result.run
    if run is None:
        return result
    storage = Storage()
    text = json.dumps(evidence(result, preparation), indent=1, default=plain, allow_nan=False)
    storage.write(run.path / EVIDENCE, f"{text}\n".encode())
    manifest = integrity.manifest_of(run.path)
    if manifest is not None:
        known = {name: entry for name, entry in manifest.files.items() if name != EVIDENCE}
        taken = integrity.take(run.path, run=run.id, known=known, complete=manifest.complete)
        integrity.write(run.path, taken, storage)
    _amend(run, result.original, verdict=result.verdict.to_mapping())
    return replace(result, run=RunFolder.open(run.path))


def evidence(result: Reproduction, preparation: Preparation) -> dict[str, Any]:
    """What a verdict rests on, as plain values."""
    runs = {"original": result.original, "reproduction": result.run}
    return {
        "schema": 1,
        "verdict": result.verdict.to_mapping(),
        **{
            name: {"id": run.id, "digests": dict(run.digests), "results": _finite(run.results), "host": _host(run)}
            for name, run in runs.items()
            if run is not None
        },
        "differences": [asdict(difference) for difference in preparation.differences],
        "unproven": list(preparation.checkout.unproven),
        "missing": dict(preparation.checkout.missing),
        "equal": None if result.comparison is None else dict(result.comparison.equal),
        "divergence": None if result.divergence is None else asdict(result.divergence),
        "envelope": None if result.envelope is None else result.envelope.to_mapping(),
        "replication": None if result.replication is None else result.replication.to_mapping(),
    }


def _finite(values: Mapping[str, float]) -> dict[str, float | str]:
    return {name: value if abs(value) < float("inf") else repr(value) for name, value in values.items()}


def _host(run: RunFolder) -> str | None:
    return run.record.get("host")


def _amend(run: RunFolder, original: RunFolder, **facts: Any) -> None:
    """Adds facts to a new run; its directory is the original's, for the one it was made in is gone."""
    stated = original.record.get("directory")
    if stated is not None:
        folder = Path(os.path.normpath(original.path.resolve() / str(stated)))
        facts["directory"] = Path(os.path.relpath(folder, run.path.resolve())).as_posix()
    amend(run.path, **facts)
