"""Fresh seeds on both sides: runs of the original that differ in the seed only, and as many made here."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite, nan
from typing import Any

from deepdiva.config.influence import WITHOUT_INFLUENCE
from deepdiva.data.expected import footprints_of_run
from deepdiva.errors import UserError, did_you_mean
from deepdiva.experiments.envelope import RERUNS
from deepdiva.experiments.equivalence import Tost, replicates_needed, tost
from deepdiva.experiments.fresh import Request, train_fresh
from deepdiva.experiments.preparation import Listener
from deepdiva.runs.folder import RunFolder, find_runs

_OURS = ("reproduction", "replicate", "rerun", "replay")


@dataclass(frozen=True)
class Effort:
    """How much is done for a verdict where the bits are not the same.

    Args:
        reruns: Trainings with one-ulp perturbations that measure how far rounding leads; 0 for none.
        replicates: Runs with fresh seeds; 0 for none.
        margin: The largest difference of the metric that does not matter; needed with replicates.
        metric: What is compared over seeds; the score on the test split by default.
        originals: Runs that differ from the original in the seed only; None looks for them in its folder.
    """

    reruns: int = RERUNS
    replicates: int = 0
    margin: float | None = None
    metric: str | None = None
    originals: tuple[RunFolder, ...] | None = None


@dataclass(frozen=True)
class Replication:
    """What fresh seeds on both sides came to.

    Args:
        metric: What is compared.
        originals: Ids of the original runs, one a seed.
        replicates: Ids of the runs made here.
        original_values: The metric of each original run.
        replicate_values: That of each run made here.
        test: The test of equivalence.
        failure: Why a run made here has no result; empty where all have one.
    """

    metric: str
    originals: tuple[str, ...]
    replicates: tuple[str, ...]
    original_values: tuple[float, ...]
    replicate_values: tuple[float, ...]
    test: Tost
    failure: str = ""

    def to_mapping(self) -> dict[str, Any]:
        """The form kept in a record."""
        return {**asdict(self), "test": self.test.to_mapping()}


def check(original: RunFolder, effort: Effort) -> None:
    """Refuses wishes that no replication can fulfil, before anything is done.

    Raises:
        UserError: A margin without replicates or the other way round, one replicate, an unknown metric.
    """
    if effort.reruns < 0 or effort.replicates < 0:
        raise UserError("a number of trainings is 0 or more")
    if bool(effort.replicates) != (effort.margin is not None):
        raise UserError(
            "--replicates and --margin belong together: how many fresh seeds, and which difference does not matter",
            "for example --replicates 10 --margin 0.01",
        )
    if effort.replicates == 1:
        raise UserError("one replicate shows nothing: it has no spread", "at least --replicates 2; 20 are better")
    if effort.margin is not None and not 0 < effort.margin < float("inf"):
        raise UserError(f"--margin {effort.margin:g}: a margin is a number above 0")
    if effort.replicates or effort.metric is not None:
        metric_of(original, effort.metric)


def metric_of(original: RunFolder, asked: str | None) -> str:
    """The result that is compared: the one that was asked for, or the score on the test split.

    Raises:
        UserError: The run has no such result.
    """
    results = original.results
    best = str((original.record.get("best") or {}).get("metric", ""))
    chosen = asked or next((name for name in (f"test/{best.rpartition('/')[2]}", best) if name in results), None)
    if chosen is None or chosen not in results:
        hint = did_you_mean(chosen or "", results) or f"there are: {', '.join(results) or 'none'}"
        raise UserError(f"run {original.id} has no result '{chosen or 'score'}' to compare", hint)
    return chosen


def siblings(original: RunFolder, named: Sequence[RunFolder] | None = None) -> list[RunFolder]:
    """The original and the completed runs that differ from it in the seed only, one for each seed.

    Args:
        original: The run.
        named: The runs to choose from; None looks at all in the folder of the original.

    Raises:
        UserError: One that was named is none of them.
    """
    found = {original.config().get("seed"): original}
    beside = sorted(find_runs(original.path.resolve().parents[1]), key=lambda run: str(run.record.get("created")))
    for run in beside if named is None else named:
        reason = _not_sibling(run, original)
        if reason is None:
            found.setdefault(run.config().get("seed"), run)
        elif named is not None and run.id != original.id:
            raise UserError(f"run {run.id} is no replicate of run {original.id}: {reason}")
    return list(found.values())


def _not_sibling(run: RunFolder, original: RunFolder) -> str | None:
    """Why a run does not differ in the seed only; None where it does."""
    if run.status != "completed":
        return f"it is {run.status}"
    if run.record.get("kind") in _OURS:
        return f"it is a {run.record['kind']}"
    if run.record.get("task") != original.record.get("task"):
        return "it has another task"
    if run.digests.get("code") != original.digests.get("code"):
        return "it has other code"
    try:
        ours, theirs = _but_seed(run.config()), _but_seed(original.config())
        roots = [[kept.root for kept in footprints_of_run(one.path)] for one in (run, original)]
    except UserError:
        return "its configuration, or what it says of its data, cannot be read"
    if roots[0] != roots[1]:
        return "it read other data"
    names = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    return f"it has another {', '.join(names)}" if names else None


def _but_seed(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in (*WITHOUT_INFLUENCE, "seed")}


def plan(original: RunFolder, siblings: Sequence[RunFolder], effort: Effort) -> list[str]:
    """What is known of the test before its runs are made: the noise, how many would do, which are missing."""
    assert effort.margin is not None
    metric = metric_of(original, effort.metric)
    values = [float(run.results[metric]) for run in siblings if isfinite(run.results.get(metric, nan))]
    lines = [f"{metric} of {len(values)} original {_runs(len(values))}, {effort.replicates} are made here"]
    if len(values) >= 2:
        mean = sum(values) / len(values)
        sd = (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5
        needed = replicates_needed(sd, effort.margin)
        lines.append(
            f"the noise between seeds is {sd:.3g} so far: to find a difference below {effort.margin:g} four times "
            f"out of five, {needed} on each side are needed"
        )
    else:
        needed = replicates_needed(1.0, 1.0)
        lines.append(f"the noise between seeds is not known yet: were it as wide as the margin, {needed} are needed")
    if len(values) < max(2, min(needed, effort.replicates)):
        lines += _missing(original, siblings, max(2, min(needed, effort.replicates)))
    return lines


def _missing(original: RunFolder, siblings: Sequence[RunFolder], wanted: int) -> list[str]:
    """The commands that make the original runs that are missing."""
    path = shlex.quote(str(original.path / "config.yaml"))
    taken = {run.config().get("seed") for run in siblings}
    free = [seed for seed in range(1, 2 * wanted + 2) if seed not in taken][: wanted - len(siblings)]
    seeds = " ".join(map(str, free))
    command = f'for seed in {seeds}; do deepdiva run --config {path} --seed "$seed"; done'
    return [f"{len(free)} more of the original are missing; with the code of the original: {command}"]


def fresh_seeds(original: RunFolder, taken: set[Any], count: int) -> list[int]:
    """Seeds that no run of the original had: functions of its id, so that they cannot be chosen."""
    found: list[int] = []
    number = 0
    while len(found) < count:
        digest = hashlib.sha256(f"replicate {number} of {original.id}".encode()).digest()
        seed = int.from_bytes(digest[:4], "big") >> 1
        number += 1
        if seed not in taken and seed not in found:
            found.append(seed)
    return found


def replicate(original: RunFolder, run: RunFolder, request: Request, effort: Effort, listener: Listener) -> Replication:
    """Trains with fresh seeds and tests whether both sides come to the same result.

    Args:
        original: The run that is reproduced.
        run: The reproduction with the same seed, the parent of the new runs.
        request: What the reproduction was asked for.
        effort: How many, which metric, which margin.
        listener: Whoever is told.
    """
    assert effort.margin is not None
    metric = metric_of(original, effort.metric)
    originals = siblings(original, effort.originals)
    listener.stage("fresh seeds on both sides")
    done: list[RunFolder] = []
    failure = ""
    for seed in fresh_seeds(original, {one.config().get("seed") for one in originals}, effort.replicates):
        config = {**request.config, "seed": seed}
        try:
            done.append(train_fresh(replace(request, config=config, kind="replicate", parent=run.id)))
        except UserError as error:
            failure = f"with seed {seed} the training fails: {error.message}"
            break
        if metric not in done[-1].results:  # never left out silently: the rest would be a choice among the runs
            failure = f"with seed {seed} the training has no {metric}"
            break
        listener.line(f"seed {seed}: {metric} {done[-1].results[metric]:.6g}   {done[-1].path.name}")
    values = [[float(one.results[metric]) for one in side if metric in one.results] for side in (originals, done)]
    return Replication(
        metric=metric,
        originals=tuple(one.id for one in originals),
        replicates=tuple(one.id for one in done),
        original_values=tuple(values[0]),
        replicate_values=tuple(values[1]),
        test=tost(*values, margin=effort.margin),
        failure=failure,
    )


def _runs(count: int) -> str:
    return "run" if count == 1 else "runs"
