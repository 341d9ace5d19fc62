"""Is a repetition the same experiment? It is when it stays as near to the original as rounding alone can explain.

Other hardware adds in another order, so losses of one seed differ in their last bits, and training makes that grow.
How much is measured here: the repetition is trained again a few times from initial weights that are moved by one unit
in the last place. Those trainings differ by nothing but rounding, and the distances between them are the envelope.
`docs/explanation/verdicts.md` says how the constants were chosen.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from deepdiva.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deepdiva.runs.folder import RunFolder

# The least number of perturbed trainings, and how many are worth making where the distance grew from rounding.
RERUNS, MOST_RERUNS = 5, 15
# How many times the envelope a distance may be. Measured in float32: at most 20 for what is the same experiment, at
# least 135 for a learning rate of 1.01 times. In reduced precision every step rounds visibly in the perturbed
# trainings too, so that less is left to allow for.
FACTOR = {"float32": 50.0, "bfloat16": 2.5, "float16": 2.5}
# What a loss may differ by at the first step, as a share of it: eight units in the last place; in reduced precision a
# fraction of one, because a loss is a mean in float32.
_ROUNDING = {"float32": 2.0**-20, "bfloat16": 2.0**-12, "float16": 2.0**-15}
# A difference in the last bits can meet a tie, of two places in a pooling window or of a gradient's sign, at any step
# and in any training. It then jumps, to 6e-5 of the loss at most, and about doubles with every step. So every training
# may, from rounding on, up to the first of these shares of the loss; up to the second where perturbed ones met ties.
_GROWTH, _QUIET, _TIES = 2.0, 6e-5, 6e-4
# The distance between perturbed trainings, as a share of the loss, from which on one of them met a tie.
_TIE_SEEN = 1e-5
# What is left at the end says less than the steps do: three times the envelope, and a share of what is compared.
_END_FACTOR, _END_PREDICTIONS, _END_METRIC, _END_SAMPLES = 3.0, 0.01, 0.03, 2


@dataclass(frozen=True)
class Trajectory:
    """What a training went through and came to.

    Args:
        losses: The loss of every optimizer step, shape (T,).
        predictions: The prediction for every test sample, in the order of the samples; empty where there are none.
        metrics: Final values by name: `val/accuracy`, `test/loss`.
    """

    losses: Sequence[float]
    predictions: Sequence[str] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class EnvelopeResult:
    """Whether a repetition stayed inside the envelope.

    Args:
        inside: Whether rounding explains every distance between the two.
        first_outside: The first optimizer step, from 1, at which it does not; None where it always does.
        worst_ratio: The greatest distance of a step as a multiple of the envelope there; `FACTOR` has the limit.
            Infinity where nothing can be said.
        at_step: The step of that distance; 0 where there is none.
        reruns: Number of perturbed trainings.
        changed: Share of the test samples that are predicted differently; None without predictions.
        detail: In words.
        problem: Why nothing can be said, or None; then `inside` is false and so would be the contrary.
        gradual: Whether the way out began within rounding: more perturbed trainings (up to `MOST_RERUNS`) may then
            show that rounding explains it after all.
        finite: Whether every loss and result is a number; one that is none is no success, whatever else is known.
    """

    inside: bool
    first_outside: int | None
    worst_ratio: float
    at_step: int
    reruns: int
    changed: float | None
    detail: str
    problem: str | None = None
    gradual: bool = False
    finite: bool = True

    def to_mapping(self) -> dict[str, Any]:
        """The form kept in a record; a ratio that is not finite becomes null."""
        return asdict(self) | {"worst_ratio": self.worst_ratio if math.isfinite(self.worst_ratio) else None}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> EnvelopeResult:
        """What `to_mapping` gave."""
        values = dict(mapping)
        return cls(**values | {"worst_ratio": math.inf if values["worst_ratio"] is None else values["worst_ratio"]})


def trajectory(run: RunFolder) -> Trajectory:
    """What a finished run went through: the exact loss of every step, its predictions and its results."""
    losses = [struct.unpack(">d", bytes.fromhex(row["loss"]))[0] for row in run.fingerprints() if "loss" in row]
    try:
        columns = run.predictions("test")
    except UserError:
        columns = {}
    return Trajectory(losses, columns.get("prediction", ()), dict(run.results))


def inside(
    original: Trajectory, reproduced: Trajectory, reruns: Sequence[Trajectory], *, precision: str = "float32"
) -> EnvelopeResult:
    """Compares a repetition of the same seed with the original.

    Args:
        original: The run that is reproduced.
        reproduced: Its repetition, made here.
        reruns: Repetitions made here with perturbed initial weights, at least `RERUNS`.
        precision: Of the runs, as in their configuration.
    """
    problem = _problem(original, reproduced, reruns)
    if problem is not None:
        finite = all(_is_finite(one) for one in (original, reproduced, *reruns))
        return EnvelopeResult(False, None, math.inf, 0, len(reruns), None, problem, problem, finite=finite)
    here = [reproduced, *reruns]
    # Where training stops early, rounding may move the end: what all went through is compared.
    shared = min(len(one.losses) for one in (original, *here))
    distances = _distances(original.losses[:shared], reproduced.losses[:shared])
    limits = envelope([one.losses[:shared] for one in here], precision=precision)
    result = _with_end(_judge(distances, limits, precision, len(reruns)), original, here)
    lengths = {len(one.losses) for one in here}
    if result.inside and len(original.losses) != len(reproduced.losses) and len(lengths) == 1:
        detail = f"the original made {len(original.losses)} steps, all trainings here {len(reproduced.losses)}"
        return replace(result, inside=False, first_outside=shared + 1, detail=detail, gradual=True)
    return result


def envelope(losses: Sequence[Sequence[float]], *, precision: str = "float32") -> NDArray[np.float64]:
    """The distance that rounding explains at each step, shape (T,), relative to the loss, before `FACTOR`.

    The greatest distance between any two of the trainings at this step or before, and never less than a few units in
    the last place that double with every step up to what a tie can bring.

    Args:
        losses: The losses of trainings that differ by rounding alone, each of shape (T,).
        precision: Of the runs.
    """
    pairs = [_distances(one, other) for one, other in combinations(losses, 2)]
    grown = np.maximum.accumulate(np.max(pairs, axis=0))
    rounding = _ROUNDING[precision]
    least = rounding * _GROWTH ** np.minimum(np.arange(len(grown)), 60.0)
    ceiling = _TIES if grown[-1] > _TIE_SEEN else _QUIET
    return np.maximum(grown, np.minimum(least, max(ceiling, rounding)))


def _judge(distances: NDArray[np.float64], limits: NDArray[np.float64], precision: str, reruns: int) -> EnvelopeResult:
    """What the steps say."""
    ratios = distances / limits
    factor = FACTOR[precision]
    outside = np.flatnonzero(ratios > factor)
    worst = int(ratios.argmax()) if len(ratios) else -1
    ratio = float(ratios[worst]) if len(ratios) else 0.0
    result = EnvelopeResult(True, None, ratio, worst + 1, reruns, None, "")
    if len(outside):
        first = int(outside[0])
        # Where rounding leads there is a first distance of a tie's size at most, not a leap.
        before = distances[: first + 1]
        onset = before[before > _ROUNDING[precision]]
        detail = (
            f"at step {first + 1} the losses differ by {distances[first]:.1e} of themselves, "
            f"{ratios[first]:.0f} times what {reruns} perturbed trainings show by then"
        )
        gradual = len(onset) > 1 and bool(onset[0] <= _TIES / 4)
        return replace(result, inside=False, first_outside=first + 1, detail=detail, gradual=gradual)
    detail = f"no step's losses differ by more than {ratio:.2g} times what {reruns} perturbed trainings show by then"
    return replace(result, detail=f"{detail} ({factor:.0f} is the limit)")


def _with_end(result: EnvelopeResult, original: Trajectory, here: Sequence[Trajectory]) -> EnvelopeResult:
    """With what predictions and final metrics add."""
    lists = [one.predictions for one in here]
    size = len(original.predictions)
    if size and all(len(one) == size for one in lists):
        changed = _changed(original.predictions, lists[0])
        usual = max(_changed(one, other) for one, other in combinations(lists, 2))
        result = replace(result, changed=changed / size)
        if result.inside and changed > _END_FACTOR * usual + max(_END_SAMPLES, _END_PREDICTIONS * size):
            detail = f"{changed} of {size} predictions differ, between perturbed trainings at most {usual}"
            return replace(result, inside=False, detail=detail)
    for name in sorted(original.metrics.keys() & here[0].metrics.keys()):
        values = [one.metrics[name] for one in here if name in one.metrics]
        distance, spread = abs(original.metrics[name] - values[0]), max(values) - min(values)
        least = max(_END_METRIC, _END_SAMPLES / size if size else 0.0)
        scale = max(abs(original.metrics[name]), abs(values[0]))
        if result.inside and not distance <= _END_FACTOR * spread + least * scale:
            detail = f"{name} differs by {distance:.2g}, between perturbed trainings by at most {spread:.2g}"
            return replace(result, inside=False, detail=detail)
    return result


def _problem(original: Trajectory, reproduced: Trajectory, reruns: Sequence[Trajectory]) -> str | None:
    """What makes a comparison impossible."""
    named = [("original", original), ("repetition", reproduced), *(("perturbed training", one) for one in reruns)]
    for name, one in named:
        if not _is_finite(one):
            return f"a loss or a result of the {name} is not a finite number"
    if not all(len(one.losses) for _, one in named):
        return "there is no step to compare"
    if len(reruns) < RERUNS:
        return f"{len(reruns)} perturbed trainings, and at least {RERUNS} are needed"
    return None


def _is_finite(one: Trajectory) -> bool:
    return bool(np.isfinite(np.asarray([*one.losses, *one.metrics.values()], dtype=np.float64)).all())


def _distances(one: Sequence[float], other: Sequence[float]) -> NDArray[np.float64]:
    """Differences as shares of the larger of the two numbers, 0 … 2."""
    first, second = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    size = np.maximum(np.abs(first), np.abs(second))
    return np.abs(first - second) / np.where(size > 0, size, 1.0)


def _changed(one: Sequence[str], other: Sequence[str]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))
