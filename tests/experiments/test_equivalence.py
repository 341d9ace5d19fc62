"""The test of equivalence: against published numbers, another implementation, simulation, and its own symmetries."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from deepdiva.experiments.equivalence import Tost, power, replicates_needed, tost

values = st.lists(st.floats(-100, 100).map(lambda value: round(value, 3)), min_size=2, max_size=8)
margins = st.floats(0.01, 100)


def sample(mean: float, sd: float, size: int) -> list[float]:
    """Numbers with exactly this mean and standard deviation."""
    raw = np.arange(size, dtype=np.float64)
    return list(mean + sd * (raw - raw.mean()) / raw.std(ddof=1))


def decided(result: Tost) -> tuple[bool, bool]:
    return result.equivalent, result.different


def test_published_example():
    # Moery and Calin-Jageman (2016), study 2, as tested in Lakens (2017) and in the documentation of TOSTER:
    # bounds of 0.43 standard deviations, 0.384 raw: t(182) = -2.69, p = .004.
    result = tost(sample(5.22, 0.83, 89), sample(5.25, 0.95, 95), margin=0.384)
    assert result.effect == pytest.approx(0.03)
    assert result.p == pytest.approx(0.004, abs=0.0005)
    assert decided(result) == (True, False)


def test_published_number_of_participants():
    # Lakens (2017), table 1: bounds of 0.4 standard deviations, 80 % power, alpha 0.05: 108 in each group.
    assert replicates_needed(1.0, 0.4) == 108


@settings(max_examples=40)
@given(values, values, margins)
def test_as_scipy_has_it(one: list[float], other: list[float], margin: float):
    assume(np.ptp(one) > 0 and np.ptp(other) > 0)
    result = tost(one, other, margin=margin)
    lower = stats.ttest_ind(np.add(other, margin), one, equal_var=False, alternative="greater")
    upper = stats.ttest_ind(np.subtract(other, margin), one, equal_var=False, alternative="less")
    between = stats.ttest_ind(other, one, equal_var=False).confidence_interval(0.9)
    assert result.p == pytest.approx(max(lower.pvalue, upper.pvalue), rel=1e-6, abs=1e-12)
    assert (result.low, result.high) == pytest.approx((between.low, between.high), rel=1e-6, abs=1e-9)


@given(values, values, margins)
def test_the_test_and_the_interval_say_the_same(one: list[float], other: list[float], margin: float):
    result = tost(one, other, margin=margin)
    assume(abs(result.p - 0.05) > 1e-9)
    assert result.equivalent == (result.p < 0.05) == (-margin < result.low <= result.high < margin)
    assert not (result.equivalent and result.different)


@given(values, values, margins)
def test_swapping_the_sides_turns_the_effect_round(one: list[float], other: list[float], margin: float):
    result, swapped = tost(one, other, margin=margin), tost(other, one, margin=margin)
    assert (swapped.effect, swapped.low, swapped.high) == pytest.approx((-result.effect, -result.high, -result.low))
    assert decided(swapped) == decided(result)
    assert swapped.p == pytest.approx(result.p)


@given(values, values, margins, st.sampled_from([2.0**-20, 0.25, 8.0, 2.0**30]))
def test_the_unit_of_the_metric_does_not_matter(one: list[float], other: list[float], margin: float, scale: float):
    result = tost(one, other, margin=margin)
    scaled = tost([v * scale for v in one], [v * scale for v in other], margin=margin * scale)
    assert decided(scaled) == decided(result)
    assert scaled.p == pytest.approx(result.p, rel=1e-9, abs=1e-300)
    assert scaled.effect == pytest.approx(result.effect * scale)


@given(values, values, margins, st.floats(1, 100))
def test_a_wider_margin_never_unmakes_equivalence(one: list[float], other: list[float], margin: float, factor: float):
    narrow, wide = tost(one, other, margin=margin), tost(one, other, margin=margin * factor)
    assert wide.equivalent >= narrow.equivalent
    assert wide.different <= narrow.different
    assert wide.p <= narrow.p


@pytest.mark.parametrize(
    ("effect", "expected"),
    [(0.0, (True, False)), (0.5, (True, False)), (1.0, (False, False)), (1.5, (False, True)), (-1.5, (False, True))],
    ids=["none", "real but small", "about the margin", "beyond", "beyond, below"],
)
def test_both_claims_are_about_the_margin(effect: float, expected: tuple[bool, bool]):
    # The interval is +-0.19: the second row's excludes zero, and yet the difference does not matter.
    assert decided(tost(sample(0, 0.5, 40), sample(effect, 0.5, 40), margin=1.0)) == expected


@pytest.mark.parametrize(
    ("original", "reproduced", "says"),
    [
        ([0.9], [0.9], "1 original run,"),
        ([0.9, 0.91], [0.9], "1 reproduced run,"),
        ([], [0.9, 0.9], "0 original runs,"),
        ([0.9, 0.9, math.nan], [0.9, 0.9], "original runs is not a finite"),
        ([0.9, 0.9], [0.9, math.inf], "reproduced runs is not a finite"),
        ([math.nan], [math.nan], "not a finite"),
    ],
    ids=["one each", "one reproduced", "no original", "nan", "infinity", "one nan each"],
)
def test_too_little_is_never_success(original: Sequence[float], reproduced: Sequence[float], says: str):
    result = tost(original, reproduced, margin=1e9)
    assert decided(result) == (False, False)
    assert result.p == 1
    assert result.problem is not None
    assert says in result.problem
    assert (result.low, result.high) == (-math.inf, math.inf)
    assert Tost.from_mapping(result.to_mapping()).to_mapping() == result.to_mapping()


def test_without_any_variance_the_difference_is_known():
    thirds = [0.1 + 0.2] * 3  # whose mean is not exactly the same number again
    equal = tost(thirds, [0.1 + 0.2] * 7, margin=1e-30)
    assert equal.deterministic
    assert (equal.effect, equal.sd) == (0, 0)
    assert decided(equal) == (True, False)
    assert decided(tost([1, 1], [2, 2], margin=0.5)) == (False, True)
    assert decided(tost([1, 1], [2, 2], margin=1)) == (False, False)  # exactly at the margin nothing is shown
    assert decided(tost([0, 1e-200], [0, 0], margin=1)) == (True, False)
    assert not tost([1, 1], [1, 1.1], margin=1).deterministic


@pytest.mark.parametrize(
    ("margin", "alpha"), [(0, 0.05), (-1, 0.05), (math.nan, 0.05), (math.inf, 0.05), (1, 0), (1, 0.5)], ids=str
)
def test_senseless_questions_are_refused(margin: float, alpha: float):
    with pytest.raises(ValueError, match=r"margin|alpha"):
        tost([1, 2], [1, 2], margin=margin, alpha=alpha)
    with pytest.raises(ValueError, match=r"margin|alpha"):
        power(3, 3, 1.0, margin, alpha=alpha)


# -- power -----------------------------------------------------------------------------------------------------------


def simulated(n_one: int, n_other: int, margin: float, effect: float, trials: int) -> tuple[float, float]:
    """Shares of simulated pairs of groups, sd 1, that are found equivalent and different."""
    draw = np.random.default_rng(n_one + 100 * n_other)
    one, other = draw.normal(size=(trials, n_one)), draw.normal(effect, size=(trials, n_other))
    found = [tost(a, b, margin=margin) for a, b in zip(one, other, strict=True)]
    return float(np.mean([f.equivalent for f in found])), float(np.mean([f.different for f in found]))


@pytest.mark.parametrize(
    ("n_one", "n_other", "margin", "effect"),
    [(3, 3, 1.0, 0.0), (5, 5, 2.0, 0.0), (10, 10, 1.0, 0.0), (2, 8, 2.0, 0.5), (20, 4, 1.5, -0.5), (18, 18, 1.0, 0.0)],
    ids=str,
)
def test_power_is_what_happens(n_one: int, n_other: int, margin: float, effect: float):
    expected = power(n_one, n_other, 1.0, margin, effect=effect)
    trials = 2000
    found, _ = simulated(n_one, n_other, margin, effect, trials)
    assert abs(found - expected) < 4 * math.sqrt(expected * (1 - expected) / trials) + 1e-3


@pytest.mark.parametrize("count", [3, 10], ids=str)
def test_a_false_claim_is_rare(count: int):
    # At a true difference of exactly the margin both claims are as near to true as they can be while false.
    equivalent, different = simulated(count, count, 1.0, 1.0, 2000)
    limit = 0.05 + 4 * math.sqrt(0.05 * 0.95 / 2000)
    assert equivalent < limit
    assert different < limit
    assert power(count, count, 1.0, 1.0, effect=1.0) < 0.051


def test_power_against_an_original_that_is_known():
    # The one-sample form, from the noncentral shares of one t statistic: 13, 29, 79, 99 %.
    for count, expected in {3: 0.127, 5: 0.294, 10: 0.795, 20: 0.992}.items():
        assert power(10**6, count, 1.0, 1.0) == pytest.approx(expected, abs=0.005)
        draw = np.random.default_rng(count).normal(size=(20_000, count))
        reach = 1 - stats.t.ppf(0.95, count - 1) * draw.std(axis=1, ddof=1) / math.sqrt(count)
        assert np.mean(np.abs(draw.mean(axis=1)) < reach) == pytest.approx(expected, abs=0.012)


def test_a_run_that_is_off_by_two_deviations_is_hardly_ever_confirmed():
    assert max(power(n, n, 1.0, 1.0, effect=2.0) for n in range(2, 40)) < 0.003


@settings(max_examples=20)
@given(st.floats(0.01, 10), st.floats(0.3, 5), st.floats(0.5, 0.95))
def test_as_many_runs_as_are_needed_and_not_one_less(sd: float, ratio: float, wanted: float):
    count = replicates_needed(sd, sd * ratio, power=wanted)
    assert power(count, count, sd, sd * ratio) >= wanted
    assert count == 2 or power(count - 1, count - 1, sd, sd * ratio) < wanted


def test_numbers_of_runs():
    assert [replicates_needed(1.0, margin) for margin in (2.0, 1.0, 0.5)] == [6, 18, 70]
    assert replicates_needed(1.0, 0.01) == pytest.approx(2 * (1.645 + 1.2816) ** 2 * 10_000, rel=0.001)
    assert replicates_needed(0.0, 1.0) == 2
    assert replicates_needed(1.0, 1.0, effect=0.5) > 2 * replicates_needed(1.0, 1.0)


def test_power_at_the_ends():
    assert power(1, 50, 1.0, 1.0) == 0
    assert power(2, 2, 0.0, 1.0, effect=0.9) == 1
    assert power(2, 2, 0.0, 1.0, effect=1.1) == 0


@pytest.mark.parametrize(
    "question",
    [{"power": 1.0}, {"power": 0.0}, {"effect": 1.0}, {"effect": math.nan}, {"sd": -1.0}, {"sd": math.nan}],
    ids=str,
)
def test_numbers_of_runs_that_no_number_can_be(question: dict[str, float]):
    with pytest.raises(ValueError, match=r"got|no number"):
        replicates_needed(**{"sd": 1.0, "margin": 1.0, **question})


def test_nothing_heavy_is_loaded():
    import subprocess

    program = "import sys, deepdiva.experiments.equivalence; print(sorted({'torch', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
