"""The test of equivalence: do two groups of runs agree within a margin, and how many runs does saying so take?

A test of difference that finds nothing shows nothing: with few runs it always finds nothing. So the question is turned
round. Two one-sided tests (TOST: Schuirmann, J. Pharmacokinet. Biopharm. 15:657-680, 1987, section "The two one-sided
tests procedure"; Lakens, Soc. Psychol. Personal. Sci. 8:355-362, 2017) make equivalence the thing to be shown, and
with too few runs they show nothing either way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Points of the Gauss-Legendre rule over the probability of each of the two sample variances.
_NODES = 64


@dataclass(frozen=True)
class Tost:
    """What two one-sided tests say of the difference between two groups, in the unit of the metric.

    Neither `equivalent` nor `different` is undecided: more values are needed.

    Args:
        effect: Mean of the reproduced values minus mean of the original ones; NaN where a mean is none.
        low: Lower end of the (1 - 2 alpha) interval of the difference; minus infinity where there is none.
        high: Its upper end.
        p: The larger of the two p values; 1 where there is none.
        equivalent: Whether the difference is shown to lie within the margin: the whole interval does.
        different: Whether it is shown to lie beyond the margin: the whole interval does, on one side.
        n_original: Number of original values.
        n_reproduced: Number of reproduced values.
        sd: Pooled standard deviation within the groups; NaN where there is none.
        margin: The largest difference that does not matter, as it was given.
        alpha: The greatest probability of either claim where it is false, as it was given.
        deterministic: Whether no value differs from the others of its group, so that nothing is left to chance.
        problem: Why nothing can be said, or None.
        finite: Whether every value is a number; one that is none is no success, whatever else is known.
    """

    effect: float
    low: float
    high: float
    p: float
    equivalent: bool
    different: bool
    n_original: int
    n_reproduced: int
    sd: float
    margin: float
    alpha: float = 0.05
    deterministic: bool = False
    problem: str | None = None
    finite: bool = True

    def to_mapping(self) -> dict[str, Any]:
        """The form kept in a record; numbers that are not finite become null."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Tost:
        """What `to_mapping` gave."""
        absent: dict[str, float] = {"effect": math.nan, "low": -math.inf, "high": math.inf, "sd": math.nan}
        values: dict[str, Any] = {n: absent.get(n) if value is None else value for n, value in mapping.items()}
        return cls(**values)


def tost(original: Sequence[float], reproduced: Sequence[float], *, margin: float, alpha: float = 0.05) -> Tost:
    """Two one-sided t tests after Welch, which do not ask for equal variances.

    *Equivalent* says that the true difference is less than the margin, *different* that it is more: both claims are
    about the margin, so both are false with a probability of at most alpha. A difference that is shown not to be zero
    but may be smaller than the margin is neither: whether it matters has not been shown.

    Fewer than two values on a side, or one that is not finite, never show anything. Where no value differs within
    either group the difference is known exactly and only compared with the margin (`deterministic`).

    Args:
        original: One value of the metric for each original run.
        reproduced: One for each reproduced run. Runs of one seed count once: the caller sees to that.
        margin: The largest difference that does not matter, above 0, in the unit of the metric.
        alpha: Between 0 and 0.5.

    Raises:
        ValueError: The margin or alpha is out of range.
    """
    _require(margin, alpha)
    one, other = np.asarray(original, dtype=np.float64), np.asarray(reproduced, dtype=np.float64)
    problem = _problem(one, other)
    if problem is not None:
        effect = float(other.mean() - one.mean()) if len(one) and len(other) else math.nan
        empty = Tost(effect, -math.inf, math.inf, 1.0, False, False, len(one), len(other), math.nan, margin, alpha)
        finite = bool(np.isfinite(one).all() and np.isfinite(other).all())
        return replace(empty, problem=problem, finite=finite)
    # The variance of equal numbers may be a rounding error of their mean.
    variances = [0.0 if np.ptp(group) == 0 else float(group.var(ddof=1)) for group in (one, other)]
    if sum(variances) == 0:
        return _exact(float(other[0] - one[0]), len(one), len(other), margin, alpha)
    return _welch(one, other, variances, margin, alpha)


def power(
    n_original: int, n_reproduced: int, sd: float, margin: float, *, alpha: float = 0.05, effect: float = 0.0
) -> float:
    """The probability that `tost` finds two groups equivalent, whose true means lie `effect` apart.

    Means and variances of normal samples are independent. So this is the probability that the mean difference falls
    where the test passes, given the two sample variances, averaged over them by numerical integration: exact for
    Welch's test and groups of one variance, where formulas for pooled variances (Phillips, J. Pharmacokinet. Biopharm.
    18:137, 1990) are not. With margin = sd and no effect it is 0.02, 0.06, 0.38, 0.86 for 3, 5, 10, 20 runs on both
    sides, and 0.13, 0.29, 0.79, 0.99 for these numbers of reproduced runs against an original that is known exactly.

    Args:
        n_original: Number of original runs.
        n_reproduced: Number of reproduced runs.
        sd: Standard deviation within each group, in the unit of the metric.
        margin: As in `tost`, and so is `alpha`.
        alpha: See there.
        effect: The true difference between the means.

    Raises:
        ValueError: An argument is out of range.
    """
    _require(margin, alpha)
    if not (math.isfinite(sd) and sd >= 0):
        raise ValueError(f"a standard deviation is a number of 0 or more, got {sd}")
    if min(n_original, n_reproduced) < 2:
        return 0.0
    if sd == 0:
        return float(abs(effect) < margin)
    from scipy import special

    points, weights = np.polynomial.legendre.leggauss(_NODES)
    shares = (points + 1) / 2
    variances = [2 * special.gammaincinv((n - 1) / 2, shares) / (n - 1) / n for n in (n_original, n_reproduced)]
    error, freedom = _error(variances[0][:, np.newaxis], variances[1][np.newaxis], n_original, n_reproduced)
    reach = margin / sd - special.stdtrit(freedom, 1 - alpha) * error  # where the mean difference may fall
    true_error = math.sqrt(1 / n_original + 1 / n_reproduced)
    passes = special.ndtr((reach - effect / sd) / true_error) - special.ndtr((-reach - effect / sd) / true_error)
    return float(np.where(reach > 0, passes, 0) @ weights @ weights / 4)


def replicates_needed(sd: float, margin: float, *, power: float = 0.8, alpha: float = 0.05, effect: float = 0.0) -> int:
    """The least number of runs on each side with which `tost` finds equivalence with a probability of `power`.

    Args:
        sd: Standard deviation within each group, in the unit of the metric.
        margin: As in `tost`, and so is `alpha`.
        power: Above 0, below 1.
        alpha: See there.
        effect: The true difference between the means, smaller than the margin.

    Raises:
        ValueError: An argument is out of range; beyond the margin no number of runs is enough.
    """
    _require(margin, alpha)
    if not 0 < power < 1:
        raise ValueError(f"power lies between 0 and 1, got {power}")
    if not abs(effect) < margin:
        raise ValueError(f"no number of runs shows that a difference of {effect} is within {margin}")
    enough = 2
    while _power(enough, sd, margin, alpha, effect) < power:
        enough *= 2
    few = enough // 2  # too few, or 1
    while enough - few > 1:
        middle = (few + enough) // 2
        if _power(middle, sd, margin, alpha, effect) < power:
            few = middle
        else:
            enough = middle
    return enough


def _power(count: int, sd: float, margin: float, alpha: float, effect: float) -> float:
    return power(count, count, sd, margin, alpha=alpha, effect=effect)


def _welch(
    one: NDArray[np.float64], other: NDArray[np.float64], variances: Sequence[float], margin: float, alpha: float
) -> Tost:
    from scipy import special

    n_one, n_other = len(one), len(other)
    effect = float(other.mean() - one.mean())
    error, freedom = (float(value) for value in _error(variances[0] / n_one, variances[1] / n_other, n_one, n_other))
    width = float(special.stdtrit(freedom, 1 - alpha)) * error
    low, high = effect - width, effect + width
    return Tost(
        effect=effect,
        low=low,
        high=high,
        p=float(special.stdtr(freedom, (abs(effect) - margin) / error)),
        equivalent=-margin < low and high < margin,
        different=low > margin or high < -margin,
        n_original=n_one,
        n_reproduced=n_other,
        sd=math.sqrt((variances[0] * (n_one - 1) + variances[1] * (n_other - 1)) / (n_one + n_other - 2)),
        margin=margin,
        alpha=alpha,
    )


def _exact(effect: float, n_original: int, n_reproduced: int, margin: float, alpha: float) -> Tost:
    within = abs(effect) < margin
    return Tost(
        effect=effect,
        low=effect,
        high=effect,
        p=0.0 if within else 1.0,
        equivalent=within,
        different=abs(effect) > margin,
        n_original=n_original,
        n_reproduced=n_reproduced,
        sd=0.0,
        margin=margin,
        alpha=alpha,
        deterministic=True,
    )


def _error(one: Any, other: Any, n_one: int, n_other: int) -> tuple[Any, Any]:
    """Standard error of a difference of means and its degrees of freedom, from the squared errors of the two means.

    Welch, Biometrika 34:28-35, 1947; the degrees of freedom as Satterthwaite has them.
    """
    total = one + other
    # In shares of the total, which neither overflow nor vanish where the squares of small variances would.
    freedom = 1 / ((one / total) ** 2 / (n_one - 1) + (other / total) ** 2 / (n_other - 1))
    return np.sqrt(total), freedom


def _problem(original: NDArray[np.float64], reproduced: NDArray[np.float64]) -> str | None:
    groups = {"original": original, "reproduced": reproduced}
    for name, values in groups.items():
        if not np.isfinite(values).all():
            return f"a value of the {name} runs is not a finite number"
    for name, values in groups.items():
        if len(values) < 2:
            return f"{len(values)} {name} run{'' if len(values) == 1 else 's'}, and at least 2 are needed"
    return None


def _require(margin: float, alpha: float) -> None:
    if not (math.isfinite(margin) and margin > 0):
        raise ValueError(f"a margin is a number above 0, got {margin}")
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha lies between 0 and 0.5, got {alpha}")
