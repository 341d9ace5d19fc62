"""The contract: what a task need not say, and when a score is better."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepdiva.engine.task import DataSplits, Evaluation, Score, StepOutput, Task

numbers = st.floats(allow_nan=False)


@given(numbers, numbers)
def test_better_means_strictly_better(value: float, best: float):
    assert Score("accuracy").better(value, best) == (value > best)
    assert Score("loss", "min").better(value, best) == (value < best)


@given(st.none() | numbers)
def test_no_number_is_never_better(best: float | None):
    assert not Score("loss", "min").better(math.nan, best)
    assert not Score("accuracy").better(math.nan, best)


@given(numbers)
def test_the_first_number_is_the_best(value: float):
    assert Score("loss", "min").better(value, None)


def test_a_task_says_no_more_than_it_must():
    task, split = Task(), [1, 2]
    evaluation = Evaluation("val", 0, 0.5, {}, split, DataSplits(split, split), ("a", "b"))
    model = torch.nn.Linear(1, 1)
    assert task.build_model(lambda: model) is model
    assert (task.metrics(evaluation), task.predictions(evaluation), task.figures(model, evaluation)) == ({}, {}, {})
    assert task.score == Score("loss", "min")
    with pytest.raises(NotImplementedError):
        task.load_data(None)
    with pytest.raises(NotImplementedError):
        task.step(model, None)


def test_the_statistics_of_two_tasks_are_two():
    one, other = Task(), Task()
    one.statistics["mean"] = [1.0]
    assert other.statistics == {}
    assert one == other  # they are no setting


def test_values_are_frozen():
    for value in (StepOutput(torch.zeros(()), 1), DataSplits([], []), Score("loss"), Task()):
        with pytest.raises(dataclasses.FrozenInstanceError):
            value.size = 2  # type: ignore[misc]
