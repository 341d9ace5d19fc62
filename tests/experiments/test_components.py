"""Model, optimizer and scheduler: completed with what the data and other settings decide, and built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deepdiva import tasks
from deepdiva.config import Component, Config, from_config
from deepdiva.engine.schedule import Schedule
from deepdiva.errors import UserError, UserErrors
from deepdiva.experiments.components import (
    build_model,
    build_optimizer,
    build_schedule,
    complete_components,
    problems_of,
)

CPU = torch.device("cpu")


def completed(on: torch.device = CPU, **settings: Any) -> Config:
    resolved = tasks.configure(None, layers=[from_config(Config(**{"task": "trembling.py:Trembling", **settings}))])
    task = tasks.create(resolved)
    return complete_components(resolved, task, task.load_data(None), on)


def optimizer(lr: float = 0.1, groups: int = 1) -> torch.optim.Optimizer:
    parameters = [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr * (place + 1)} for place in range(groups)]
    return torch.optim.SGD(parameters, momentum=0.9)


def schedule(scheduler: Any, *, steps: int = 12, lr: float = 0.1, groups: int = 1, epochs: int = 3) -> Any:
    """The scheduler of torch that a configuration gives."""
    config = completed(scheduler=scheduler, epochs=epochs)
    built = build_schedule(config, optimizer(lr, groups), steps=steps)
    assert isinstance(built, Schedule)
    return built._scheduler


def test_every_argument_is_written_out():
    config = completed(model="mlp")
    assert config.model is not None
    assert config.model.arguments == {
        "in_features": 4,
        "num_classes": 2,
        "hidden": [16],
        "activation": "relu",
        "dropout": 0.3,
    }
    assert config.optimizer.arguments["weight_decay"] == 0.01
    assert config.scheduler is not None
    assert config.scheduler.arguments["pct_start"] == 0.3
    model = build_model(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == 4 * 16 + 16 + 2 * 16 + 2
    again = completed(**Config(**config.to_mapping()).to_mapping())
    assert again == config


def test_what_the_data_decide_cannot_be_overruled():
    with pytest.raises(UserErrors, match="num_classes"):
        completed(model={"class": "mlp", "num_classes": 7})


@pytest.mark.parametrize(
    ("asked", "fused"),
    [
        ("AdamW", True),
        ({"class": "SGD", "lr": 0.1}, True),
        ({"class": "AdamW", "foreach": True}, None),
        ({"class": "AdamW", "fused": False}, False),
    ],
    ids=str,
)
def test_the_fused_form_is_taken_unless_another_is_chosen(asked: Any, fused: bool | None):
    config = completed(optimizer=asked)
    assert config.optimizer.arguments["fused"] is fused
    assert build_optimizer(config, nn.Linear(2, 2)).param_groups[0]["fused"] is fused


def test_optimizers_without_a_fused_form_are_left_as_they_are():
    assert "fused" not in completed(optimizer={"class": "RMSprop"}).optimizer.arguments
    other = torch.device("xpu")
    assert completed(other, optimizer={"class": "AdamW"}).optimizer.arguments.get("fused") is None


def test_an_optimizer_that_needs_a_closure_is_refused():
    with pytest.raises(UserErrors, match="LBFGS computes the loss several times a step"):
        completed(optimizer={"class": "LBFGS"})


def test_only_parameters_that_learn_are_given_to_the_optimizer():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    built = build_optimizer(completed(), model)
    assert len(built.param_groups[0]["params"]) == 2
    with pytest.raises(UserError, match="no parameter to learn"):
        build_optimizer(completed(), nn.ReLU())


# -- schedulers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "OneCycleLR",
        "onecyclelr",
        "one-cycle-lr",
        "torch.optim.lr_scheduler.OneCycleLR",
        "torch.optim.lr_scheduler:OneCycleLR",
    ],
)
def test_the_cycle_goes_by_steps_however_it_is_spelt(name: str):
    built = schedule(name, steps=12, lr=0.25)
    assert built.total_steps == 12
    assert built.optimizer.param_groups[0]["max_lr"] == 0.25


def test_each_group_of_parameters_has_its_own_highest_rate():
    built = schedule("OneCycleLR", groups=2)
    assert [group["max_lr"] for group in built.optimizer.param_groups] == [0.1, 0.2]


def test_lengths_follow_from_the_training_unless_they_are_given():
    assert schedule("CosineAnnealingLR", epochs=7).T_max == 7
    assert schedule({"class": "CosineAnnealingLR", "interval": "step"}, steps=99).T_max == 99
    assert schedule({"class": "CosineAnnealingLR", "T_max": 5}).T_max == 5
    assert schedule("LinearLR", epochs=7).total_iters == 7
    assert schedule({"class": "OneCycleLR", "epochs": 4, "steps_per_epoch": 10}, steps=12).total_steps == 40
    assert schedule({"class": "OneCycleLR", "max_lr": 0.7}).optimizer.param_groups[0]["max_lr"] == 0.7
    assert schedule("OneCycleLR", epochs=0, steps=0).total_steps == 1


def test_what_follows_from_other_settings_is_not_recorded_but_the_interval_is():
    config = completed(scheduler="CosineAnnealingLR")
    assert config.scheduler is not None
    assert "T_max" not in config.scheduler.arguments
    assert config.scheduler.arguments["interval"] == "epoch"
    given = completed(scheduler={"class": "CosineAnnealingLR", "T_max": 5}).scheduler
    assert given is not None
    assert given.arguments["T_max"] == 5


def test_a_plateau_goes_the_way_of_the_score():
    assert schedule("ReduceLROnPlateau").mode == "max"
    assert schedule({"class": "ReduceLROnPlateau", "mode": "min"}).mode == "min"


def test_without_a_scheduler_the_rate_stays():
    config = completed(scheduler=None)
    assert config.scheduler is None
    assert build_schedule(config, optimizer(), steps=3).state_dict() == {}


def test_a_schedule_of_ones_own():
    Path("mine.py").write_text(
        "from torch.optim.lr_scheduler import LRScheduler\n\n"
        "class Halving(LRScheduler):\n"
        "    def __init__(self, optimizer, every: int = 2):\n"
        "        self.every = every\n"
        "        super().__init__(optimizer)\n\n"
        "    def get_lr(self):\n"
        "        return [rate * 0.5 ** (self.last_epoch // self.every) for rate in self.base_lrs]\n"
    )
    built = schedule({"class": "mine.py:Halving", "every": 1})
    built.optimizer.step()
    built.step()
    assert built.get_last_lr() == [0.05]


# -- mistakes -----------------------------------------------------------------------------------------------------


def test_mistakes_show_before_there_are_data():
    components = {
        "model": Component("mlp", {"hiden": [3]}),
        "optimizer": Component("Adamm"),
        "scheduler": Component("StepLR", {"interval": "day", "gama": 0.1}),
        "task.loss": Component("nothing of ours"),
    }
    text = "\n".join(str(problem) for problem in problems_of(components, {}))
    for part in ("did you mean 'hidden'", "Adam", "`step` or `epoch`", "did you mean 'gamma'"):
        assert part in text
    assert "nothing of ours" not in text
    assert list(problems_of({"model": Component("mlp")}, {})) == []  # the data will say the rest


def test_a_class_that_is_no_module_is_refused():
    Path("mine.py").write_text("class Net:\n    pass\n")
    with pytest.raises(UserErrors, match=r"torch\.nn\.Module"):
        completed(model="mine.py:Net")
