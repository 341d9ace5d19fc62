"""Every optimizer and schedule of torch takes the state that it gave; what else is refused is in test_resume.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deepdiva.engine import checkpoint
from deepdiva.engine.schedule import Schedule
from deepdiva.engine.state import TrainingState
from deepdiva.engine.state_fit import problems_of_optimizer, problems_of_scaler, problems_of_schedule
from deepdiva.errors import UserErrors
from deepdiva.runs.storage import Storage

OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    *(
        (name, {})
        for name in ("Adadelta", "Adafactor", "Adagrad", "Adamax", "AdamW", "ASGD", "NAdam", "RAdam", "Rprop")
    ),
    ("Adam", {"amsgrad": True, "betas": (0.8, 0.9)}),
    ("RMSprop", {"centered": True, "momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {}),
]
SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("CosineAnnealingLR", {"T_max": 9}),
    ("CosineAnnealingWarmRestarts", {"T_0": 2}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.2, "cycle_momentum": False}),
    ("ExponentialLR", {"gamma": 0.5}),
    ("MultiStepLR", {"milestones": [1, 3]}),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 9}),
    ("PolynomialLR", {}),
    ("ReduceLROnPlateau", {"patience": 0}),
]


def build(name: str = "AdamW", more: dict[str, Any] | None = None, *, half: bool = False) -> TrainingState:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.1, **(more or {}))
    schedule = Schedule(torch.optim.lr_scheduler.StepLR(optimizer, 2), "step")
    return TrainingState(model, optimizer, schedule, torch.amp.GradScaler("cpu", enabled=half))


def step(state: TrainingState) -> None:
    state.backward(state.model(torch.ones(3, 4)).square().mean())
    state.update()


def kept(state: TrainingState, directory: Path) -> checkpoint.Checkpoint:
    """By way of a file, as every state comes back."""
    return checkpoint.load(checkpoint.save(directory, state.position.step, state.model, state.rest(), Storage()))


@pytest.mark.parametrize(("name", "more"), OPTIMIZERS, ids=str)
def test_an_optimizer_takes_its_own_state_and_not_one_of_another_shape(name: str, more: dict[str, Any], tmp_path: Path):
    old = build(name, more)
    step(old)
    saved = kept(old, tmp_path)
    new = build(name, more)
    new.restore(saved)
    assert new.digests() == old.digests()
    for entry in saved.training["optimizer"]["state"].values():
        for key, value in entry.items():
            if torch.is_tensor(value):
                entry[key] = torch.zeros(5, 5)
    found = list(problems_of_optimizer(saved.training["optimizer"], new.optimizer))
    assert bool(found) == bool(saved.training["optimizer"]["state"])


@pytest.mark.parametrize(("name", "more"), SCHEDULES, ids=str)
def test_a_schedule_takes_its_own_state_and_not_one_of_texts(name: str, more: dict[str, Any], tmp_path: Path):
    def schedule(state: TrainingState) -> Schedule:
        return Schedule(getattr(torch.optim.lr_scheduler, name)(state.optimizer, **more), "step")

    old = build()
    old.schedule = schedule(old)
    for number in range(4):
        step(old)
        old.schedule.after_validation(float(number))
    saved = kept(old, tmp_path)
    new = build()
    new.schedule = schedule(new)
    new.restore(saved)
    assert new.schedule.state_dict().keys() == old.schedule.state_dict().keys()
    texts = dict.fromkeys(saved.training["schedule"], "x")
    assert list(problems_of_schedule(texts, new.schedule))


class Whitening(torch.optim.Optimizer):
    """One of the user's, which keeps what it likes of a parameter."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for parameter in self.param_groups[0]["params"]:
            side = parameter.shape[0]
            self.state[parameter].setdefault("exp_avg", torch.eye(side)).mul_(0.9)


def test_an_optimizer_of_the_user_keeps_what_it_likes(tmp_path: Path):
    old, new = build(), build()
    for state in (old, new):
        state.optimizer = Whitening(state.model.parameters())
        state.schedule = Schedule(None, "epoch")
    step(old)
    new.restore(kept(old, tmp_path))
    assert new.digests() == old.digests()


def test_nothing_is_taken_of_a_state_that_does_not_fit(tmp_path: Path):
    old, new = build(half=True), build(half=True)
    step(old)
    saved = kept(old, tmp_path)
    saved.training["scaler"]["scale"] = "x"
    before = new.digests()
    with pytest.raises(UserErrors, match=r"scaler\.scale: a number belongs there, and it is 'x'"):
        new.restore(saved)
    assert new.digests() == before


def test_the_scaler_of_another_precision(tmp_path: Path):
    idle, busy = build().scaler, build(half=True).scaler
    assert not list(problems_of_scaler(busy.state_dict(), idle))
    missing = {str(problem) for problem in problems_of_scaler(idle.state_dict(), busy)}
    assert "scaler.scale: is missing" in missing
