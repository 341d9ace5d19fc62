"""The odds of an audit: against another implementation, by counting, and in plain cases."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deepdiva.experiments.audit_odds import caught_probability, replays_needed


@given(st.integers(1, 2000), st.data())
def test_as_scipy_has_it(segments: int, data: st.DataObject):
    replayed = data.draw(st.integers(0, segments))
    changed = -(-segments // 10)
    expected = 1 - stats.hypergeom(segments, changed, replayed).pmf(0)
    assert caught_probability(segments, replayed) == pytest.approx(expected, abs=1e-9)


def test_by_counting():
    drawn = list(combinations(range(20), 3))
    caught = sum(1 for places in drawn if min(places) < 2)
    assert caught_probability(20, 3) == pytest.approx(caught / len(drawn))


@pytest.mark.parametrize(
    ("segments", "replayed", "share", "expected"),
    [(100, 0, 0.1, 0), (100, 1, 0.1, 0.1), (100, 91, 0.1, 1), (1, 1, 0.1, 1), (5, 1, 0.1, 0.2), (100, 1, 0.07, 0.07)],
    ids=str,
)
def test_plain_cases(segments: int, replayed: int, share: float, expected: float):
    assert caught_probability(segments, replayed, share=share) == pytest.approx(expected)


@given(st.integers(1, 300), st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_as_many_replays_as_are_needed_and_not_one_more(segments: int, probability: float, share: float):
    count = replays_needed(segments, probability, share=share)
    assert caught_probability(segments, count, share=share) >= probability
    assert count == 1 or caught_probability(segments, count - 1, share=share) < probability


def test_how_many_replays_a_long_run_takes():
    assert [replays_needed(1000, probability) for probability in (0.5, 0.9, 0.95, 0.99)] == [7, 22, 29, 43]


@pytest.mark.parametrize(
    ("segments", "replayed", "share"), [(0, 0, 0.1), (5, 6, 0.1), (5, -1, 0.1), (5, 1, 0.0), (5, 1, 1.1)]
)
def test_senseless_questions_are_refused(segments: int, replayed: int, share: float):
    with pytest.raises(ValueError, match=r"segment|share"):
        caught_probability(segments, replayed, share=share)


@pytest.mark.parametrize("probability", [0.0, 1.1], ids=str)
def test_a_probability_is_one(probability: float):
    with pytest.raises(ValueError, match="probability"):
        replays_needed(10, probability)
