"""Each way in which a task can break the contract is found, and by the right point."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from deepdiva.engine.check import Subject, check_task
from deepdiva.engine.task import DataSplits, Evaluation, Score, StepOutput, Task

Outcomes = Callable[..., dict[str, tuple[bool, str]]]


@pytest.fixture
def outcomes(make_network: Callable[..., nn.Module]) -> Outcomes:
    """The outcome of every point for a task: `{"step": (True, "loss 0.7 …"), …}`."""

    def call(task: Task, *, model: Callable[[], nn.Module] = make_network) -> dict[str, tuple[bool, str]]:
        subject = Subject(
            task=task,
            data=task.load_data(None),
            create_model=model,
            create_optimizer=lambda model: torch.optim.AdamW(model.parameters(), lr=0.01),
            batch_size=8,
            device=torch.device("cpu"),
        )
        return {outcome.name: (outcome.passed, outcome.detail) for outcome in check_task(subject)}

    return call


def failed(found: dict[str, tuple[bool, str]]) -> dict[str, str]:
    return {name: detail for name, (passed, detail) in found.items() if not passed}


@pytest.mark.parametrize("trembling", [False, True])
def test_a_good_task_keeps_every_point(outcomes: Outcomes, clouds: type, trembling: bool):
    found = outcomes(clouds(trembling=trembling))
    assert failed(found) == {}
    assert found["splits"][1] == "train 33, val 16, test 16"
    assert len(found) == 11


def test_each_point_is_tried_even_after_one_that_raises(outcomes: Outcomes, clouds: type):
    @dataclass(frozen=True)
    class Broken(clouds):  # type: ignore[misc]
        def step(self, model: nn.Module, batch: Any) -> StepOutput:
            raise LookupError("no such thing")

    found = outcomes(Broken())
    assert failed(found)["step"] == "LookupError: no such thing"
    assert found["splits"][0]
    assert found["builds"][0]


def altered(clouds: type, **changes: Callable[[StepOutput], Any]) -> Task:
    """Clouds whose step gives something else: `altered(clouds, size=lambda output: output.size + 1)`."""

    @dataclass(frozen=True)
    class Altered(clouds):  # type: ignore[misc]
        def step(self, model: nn.Module, batch: Any) -> StepOutput:
            output = super().step(model, batch)
            return replace(output, **{name: change(output) for name, change in changes.items()})

    return Altered()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": lambda output: 3}, "StepOutput.size says 3"),
        ({"loss": lambda output: output.loss.expand(2)}, "the loss has shape [2], not []"),
        ({"loss": lambda output: output.loss * float("nan")}, "the loss is nan"),
        ({"outputs": lambda output: {"right": [1]}}, "output 'right' has 1 entries for 8 samples"),
        ({"outputs": lambda output: {"kept": output.loss.expand(8)}}, "output 'kept' is not detached"),
        ({"measures": lambda output: {"loss": output.loss}}, "measure 'loss' is not detached"),
        ({"measures": lambda output: {"pairs": torch.ones(2)}}, "measure 'pairs' has shape [2], neither [] nor [8]"),
    ],
)
def test_what_a_step_gives_wrongly_is_named(outcomes: Outcomes, clouds: type, change: dict, message: str):
    assert message in failed(outcomes(altered(clouds, **change)))["step"]


def test_a_step_must_give_a_step_output(outcomes: Outcomes, clouds: type):
    @dataclass(frozen=True)
    class Bare(clouds):  # type: ignore[misc]
        def step(self, model: nn.Module, batch: Any) -> Any:
            return super().step(model, batch).loss

    assert failed(outcomes(Bare()))["step"] == "step gave a Tensor, not a StepOutput"


def test_randomness_of_ones_own_is_found(outcomes: Outcomes, clouds: type, blobs: type):
    own = np.random.default_rng()

    class Private(blobs):  # type: ignore[misc]
        def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
            return self.inputs[index] + float(own.random()), self.targets[index]

    @dataclass(frozen=True)
    class Loading(clouds):  # type: ignore[misc]
        def load_data(self, source: str | None) -> DataSplits:
            return replace(super().load_data(source), train=Private(33, seed=0))

    assert "randomness of its own" in failed(outcomes(Loading()))["samples"]
    step = altered(clouds, loss=lambda output: output.loss * (1 + float(own.random())))
    assert set(failed(outcomes(step))) >= {"repeated step", "restored step"}

    def build() -> nn.Module:
        model = nn.Linear(4, 2)
        model.bias.data += float(own.random())
        return model

    assert "not from the global generators" in failed(outcomes(clouds(), model=build))["builds"]


def test_a_state_that_no_checkpoint_holds_is_found(outcomes: Outcomes, clouds: type):
    class Counting(nn.Linear):
        calls = 0

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return super().forward(inputs) * self.calls

    assert "no checkpoint holds" in failed(outcomes(clouds(), model=lambda: Counting(4, 2)))["restored step"]


def test_a_parameter_without_gradient_is_named(outcomes: Outcomes, clouds: type):
    class Forgotten(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 2)
            self.unused = nn.Parameter(torch.zeros(2))

    found = failed(outcomes(clouds(), model=Forgotten))
    assert found["gradients"] == "no gradient reaches unused"


def test_a_model_that_cannot_learn_is_found(outcomes: Outcomes, clouds: type):
    stuck = altered(clouds, loss=lambda output: output.loss * 1e-9 + 1.0)
    assert "the loss only went from 1.0000 to 1.0000" in failed(outcomes(stuck))["overfits one batch"]


def test_weights_outside_the_state_are_found(outcomes: Outcomes, clouds: type):
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)
            self.offset = torch.randn(2)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.linear(inputs) + self.offset

    assert "saved and loaded" in failed(outcomes(clouds(), model=Hidden))["save and load"]


def test_a_score_that_is_not_measured_is_named(outcomes: Outcomes, clouds: type):
    @dataclass(frozen=True)
    class Unmeasured(clouds):  # type: ignore[misc]
        score = Score("f1")

    assert failed(outcomes(Unmeasured()))["metrics"] == "the score is 'f1', but the metrics are loss, accuracy"


def test_predictions_must_have_a_row_for_every_sample(outcomes: Outcomes, clouds: type):
    @dataclass(frozen=True)
    class Short(clouds):  # type: ignore[misc]
        def predictions(self, evaluation: Evaluation) -> Mapping[str, Any]:
            return {"right": [True]}

    assert "predictions right do not have one entry" in failed(outcomes(Short()))["metrics"]


@dataclass(frozen=True)
class _Figures(Task):
    """What a task's figures may do wrong."""

    harm: str = field(default="none")

    def figures(self, model: nn.Module, evaluation: Evaluation) -> Mapping[str, Any]:
        if self.harm == "train":
            model.train()
            model(evaluation.samples.inputs)
        if self.harm == "array":
            return {"noise": np.zeros((2, 2))}
        random.random()
        return {"noise": Image.new("L", (2, 2))}


@pytest.mark.parametrize(
    ("harm", "message"), [("none", ""), ("train", "changed the model"), ("array", "is no PIL image")]
)
def test_figures_must_be_pictures_and_leave_the_model_alone(outcomes: Outcomes, clouds: type, harm: str, message: str):
    class Drawing(_Figures, clouds):  # type: ignore[misc]
        pass

    found = failed(outcomes(dataclass(frozen=True)(Drawing)(harm=harm)))
    assert found == {} if not message else message in found["figures"]


@pytest.mark.parametrize("wrong", ["empty", "ids", "twice"])
def test_splits_are_looked_at(outcomes: Outcomes, clouds: type, blobs: type, wrong: str):
    @dataclass(frozen=True)
    class Wrong(clouds):  # type: ignore[misc]
        def load_data(self, source: str | None) -> DataSplits:
            data = super().load_data(source)
            val = data.val
            val.ids = {"ids": val.ids[1:], "twice": ["a"] * 16}.get(wrong, val.ids)
            return replace(data, val=val, test=blobs(0, seed=0) if wrong == "empty" else None)

    messages = {"empty": "the test split has no samples", "ids": "but 15 ids", "twice": "have the same id"}
    assert messages[wrong] in failed(outcomes(Wrong()))["splits"]
