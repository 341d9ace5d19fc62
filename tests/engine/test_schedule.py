"""Every kind of scheduler is stepped when it is due, and goes on where it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch.optim import SGD
from torch.optim import lr_scheduler as torch_schedulers

from deepdiva.engine.schedule import Schedule

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "StepLR": ("epoch", {"step_size": 2}),
    "MultiStepLR": ("epoch", {"milestones": [1, 3]}),
    "ConstantLR": ("epoch", {"factor": 0.5, "total_iters": 2}),
    "LinearLR": ("step", {"total_iters": 6}),
    "ExponentialLR": ("step", {"gamma": 0.9}),
    "PolynomialLR": ("step", {"total_iters": 9, "power": 2.0}),
    "CosineAnnealingLR": ("epoch", {"T_max": 4}),
    "CosineAnnealingWarmRestarts": ("step", {"T_0": 4, "T_mult": 2}),
    "CyclicLR": ("step", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3}),
    "OneCycleLR": ("step", {"max_lr": 0.1, "total_steps": 12}),
    "ReduceLROnPlateau": ("epoch", {"mode": "max", "patience": 0}),
}
SCORES = [0.5, 0.4, 0.6, 0.6]


def make(name: str) -> tuple[SGD, Schedule]:
    interval, arguments = KINDS[name]
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    return optimizer, Schedule(getattr(torch_schedulers, name)(optimizer, **arguments), interval)


def train(optimizer: SGD, schedule: Schedule, epochs: range) -> list[float]:
    """The learning rate of every step, three steps an epoch."""
    rates = []
    for epoch in epochs:
        for _ in range(3):
            optimizer.step()
            schedule.after_step()
            rates.append(optimizer.param_groups[0]["lr"])
        schedule.after_epoch()
        schedule.after_validation(SCORES[epoch])
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("name", KINDS)
def test_a_schedule_goes_on_where_it_was(name: str):
    expected = train(*make(name), range(4))
    optimizer, schedule = make(name)
    first = train(optimizer, schedule, range(2))
    kept = json.loads(json.dumps([schedule.state_dict(), optimizer.state_dict()]))  # as a checkpoint keeps it
    if name == "MultiStepLR":  # JSON has no whole numbers as names; a checkpoint does
        kept[0]["milestones"] = {int(milestone): count for milestone, count in kept[0]["milestones"].items()}
    optimizer, schedule = make(name)
    optimizer.load_state_dict(kept[1])
    schedule.load_state_dict(kept[0])
    assert first + train(optimizer, schedule, range(2, 4)) == expected
    assert len(set(expected)) > 1


@pytest.mark.parametrize("name", KINDS)
def test_a_schedule_is_stepped_when_it_is_due(name: str):
    rates = train(*make(name), range(4))
    by_epoch = KINDS[name][0] == "epoch"
    steps = [rates[4 * epoch : 4 * epoch + 3] for epoch in range(4)]
    assert all((len(set(epoch)) == 1) == by_epoch for epoch in steps[:1])


def test_plateau_follows_the_score_and_not_the_epochs():
    optimizer, schedule = make("ReduceLROnPlateau")
    for _ in range(5):
        optimizer.step()
        schedule.after_step()
        schedule.after_epoch()
    assert optimizer.param_groups[0]["lr"] == 0.1
    for score in SCORES[:2]:
        schedule.after_validation(score)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)


def test_without_a_scheduler_nothing_happens():
    schedule = Schedule(None, "epoch")
    schedule.after_step()
    schedule.after_epoch()
    schedule.after_validation(1.0)
    assert schedule.state_dict() == {}
    schedule.load_state_dict({})


def test_functions_are_left_out_of_the_state():
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = Schedule(torch_schedulers.MultiplicativeLR(optimizer, lambda epoch: 0.5), "epoch")
    json.dumps(schedule.state_dict())


def test_what_a_scheduler_calls_is_no_part_of_its_state():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = Schedule(torch.optim.lr_scheduler.StepLR(optimizer, 2), "step")
    assert schedule.is_method("step")
    assert not any(schedule.is_method(name) for name in (*schedule.state_dict(), "unheard_of"))
    assert not Schedule(None, "epoch").is_method("step")
