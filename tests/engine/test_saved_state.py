"""What a checkpoint must hold, as far as it is known without a model; how it is refused is in test_resume.py."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
import torch

from deepdiva.engine.checkpoint import Checkpoint
from deepdiva.engine.fingerprint import state_digest
from deepdiva.engine.recorder import EpochSums
from deepdiva.engine.saved_state import POSITION, described, problems_of, problems_of_place, refuse, unlike
from deepdiva.engine.state import Position
from deepdiva.errors import Problem, UserErrors


def training(**changes: Any) -> dict[str, Any]:
    parts: dict[str, Any] = {"optimizer": {"state": {}}, "schedule": {}, "scaler": {}, "average": None}
    return {**parts, "position": asdict(Position()), "sums": asdict(EpochSums()), **changes}


def saved(**changes: Any) -> Checkpoint:
    return Checkpoint(0, Path("step-00000000"), {"weight": torch.ones(2)}, training(**changes))


def test_every_field_of_a_position_is_looked_at():
    assert set(POSITION) == {field.name for field in fields(Position)}
    far = Position(3, 4, 25, 20, 2, float("nan"), 1, 5, finished=True)
    for position in (Position(), far):
        assert problems_of(saved(position=asdict(position))) == []


def test_a_checkpoint_of_an_older_version_says_less_and_is_fine():
    position = asdict(Position())
    del position["finished"]
    assert problems_of(saved(position=position)) == []


def test_a_state_with_its_digest_is_fine_and_with_another_is_not():
    weights = state_digest({"weight": torch.ones(2)})
    parts = {name: value for name, value in training().items() if name not in ("position", "sums")}
    digests = {"weights": weights, "state": state_digest({"weights": weights, **parts})}
    assert problems_of(saved(digests=digests)) == []
    [problem] = problems_of(saved(digests=digests, schedule={"last_epoch": 3}))
    assert problem.message.startswith("optimizer, schedule, scaler and average do not have the digest")
    [problem] = problems_of(saved(digests={**digests, "weights": "0"}))
    assert problem.message.startswith("the weights do not have the digest")


def test_more_steps_of_an_epoch_than_there_are():
    late = saved(position={"step_in_epoch": 6})
    assert list(problems_of_place(late, most=6)) == []
    assert [str(problem) for problem in problems_of_place(late, most=5)] == [
        "position.step_in_epoch: is 6, and may be 5 at most"
    ]


@pytest.mark.parametrize(
    ("own", "found", "said"),
    [
        (1, 2.5, []),
        (None, "anything", []),
        pytest.param(object(), None, [], id="no plain value"),
        ({"a": 1, "b": 2}, {"a": 3, "c": "x"}, []),
        ((0.9, 0.999), [0.8, 0.9], []),
        (1, True, ["at: a number belongs there, and it is True"]),
        (True, 1, ["at: true or false belongs there, and it is 1"]),
        (1, None, ["at: a number belongs there, and it is nothing"]),
        ("cos", 1, ["at: a text belongs there, and it is 1"]),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": "2"}]}, ["at.a.1.b: a number belongs there, and it is '2'"]),
        ([1], [], ["at: holds 0 values, where 1 belong"]),
        ([1], {}, ["at: a list belongs there, and it is a mapping of 0"]),
        (torch.ones(2), torch.zeros(2), []),
        (
            torch.ones(2),
            torch.ones(2, dtype=torch.float64),
            ["at: a tensor [2] of float32 belongs there, and it is a tensor [2] of float64"],
        ),
    ],
    ids=str,
)
def test_another_kind_of_value_is_told_by_its_place(own: Any, found: Any, said: list[str]):
    assert [str(problem) for problem in unlike(own, found, "at")] == said


def test_what_is_said_of_a_value_stays_short():
    assert described("x" * 1000) == f"'{'x' * 36}…"
    assert described([1, 2]) == "a list of 2"


def test_many_problems_are_told_in_a_few_lines():
    refuse(saved(), [])
    with pytest.raises(UserErrors) as caught:
        refuse(saved(), (Problem(f"number {number}") for number in range(100)))
    assert len(caught.value.problems) == 9
    assert "… and 92 more" in caught.value.message
    assert caught.value.hint is not None
