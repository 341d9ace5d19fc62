"""The first number that differs is found wherever it stands, whatever only one of the two runs wrote down."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepdiva.errors import UserError
from deepdiva.runs.event_divergence import EventDifference
from deepdiva.runs.event_divergence import first_event_difference as both


def first_event_difference(a, b, **more):
    return both(a, b, **more)[0]


def first_missing_event(a, b):
    return both(a, b)[1]


def event(step, epoch=1, **values):
    return {"step": step, "epoch": epoch, "values": values, "time": 0.0}


def many(count):
    return [event(step, 1 + step // 5, loss=1.0 / (step + 1), accuracy=0.5) for step in range(count)]


@given(
    count=st.integers(1, 30),
    place=st.integers(0, 29),
    every=st.integers(1, 4),
    tag=st.sampled_from(["loss", "accuracy"]),
)
def test_a_planted_difference_is_found_at_its_place(count, place, every, tag):
    place %= count
    a, b = many(count), many(count)
    b[place]["values"][tag] = math.nextafter(a[place]["values"][tag], 2.0)
    b = [item for number, item in enumerate(b) if number == place or number % every == 0]
    found = first_event_difference(a, b)
    assert found == EventDifference(
        place, 1 + place // 5, tag, a[place]["values"][tag], b[b.index(found_event(b, place))]["values"][tag]
    )
    assert first_event_difference(a, b, before=place) is None
    assert first_event_difference(b, a, before=place + 1) is not None


def found_event(events, step):
    return next(item for item in events if item["step"] == step)


def test_the_same_number_is_no_difference_whatever_it_is():
    a = [event(1, loss=math.nan), event(2, loss=math.inf), event(2, epoch=1, other=1)]
    assert first_event_difference(a, a) is None
    assert first_event_difference([event(1, loss=0.0)], [event(1, loss=-0.0)]) is not None
    assert first_event_difference([event(1, loss=math.nan)], [event(1, loss=1.0)]) is not None


def test_measures_of_the_machine_and_times_do_not_count():
    a, b = {**event(1, loss=1.0), "time": 5.0}, event(1, loss=1.0)
    a["values"] |= {"system/step_seconds": 0.1}
    assert first_event_difference([a], [b]) is None
    assert first_missing_event([a], [b]) is None


def test_what_only_one_wrote_down():
    a, b = [event(1, loss=1.0), event(3, loss=0.5)], [event(1, loss=1.0), event(2, loss=0.75), event(3, loss=0.5)]
    assert first_event_difference(a, b) is None
    assert first_missing_event(a, b) == EventDifference(2, 1, "loss", None, 0.75)
    assert first_missing_event(b, a) == EventDifference(2, 1, "loss", 0.75, None)
    assert first_missing_event(a, a) is None
    assert first_missing_event(a, []) == EventDifference(1, 1, "loss", 1.0, None)


@pytest.mark.parametrize(
    "odd",
    [
        {"values": {}},
        {"step": "1"},
        {"step": 1},
        {"step": 1, "values": {"loss": "x"}},
        {"step": 1, "values": {"l": []}},
        7,
    ],
    ids=str,
)
def test_what_is_no_event_is_refused(odd):
    with pytest.raises(UserError, match="no event"):
        first_event_difference([odd], [event(1, loss=1.0)])
