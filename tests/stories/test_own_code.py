"""Models, optimizers, losses, transforms and tasks of the user's own, from files of the user's own repository."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from tests.stories.conftest import QUICK, Cli, Refused, Run

from deepdiva.runs.folder import RunFolder, find_run

POINTS = ("points", "--n", 60, "--epochs", 2)

MINE = '''
import torch
from torch import nn


class MyNet(nn.Module):
    """One hidden layer."""

    def __init__(self, in_features: int, num_classes: int, hidden: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(in_features, hidden), nn.Tanh(), nn.Linear(hidden, num_classes))

    def forward(self, inputs):
        return self.layers(inputs)


class Signs(torch.optim.Optimizer):
    """Steps of one length along the signs of the gradient."""

    def __init__(self, params, length: float = 0.01) -> None:
        super().__init__(params, {"lr": length})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter -= group["lr"] * parameter.grad.sign()


class Squares(nn.Module):
    """Squared distance of the probabilities to the truth."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, scores, targets):
        truth = nn.functional.one_hot(targets, scores.shape[1])
        return self.scale * (scores.softmax(1) - truth).square().sum(1).mean()


class Flip:
    """Turns an image upside down."""

    def __init__(self, chance: float = 0.5) -> None:
        self.chance = chance

    def __call__(self, image):
        return image.flip(-2) if torch.rand(()) < self.chance else image
'''

FAILING = '''
import os
from dataclasses import dataclass

from deepdiva.tasks.points import Points


@dataclass(frozen=True)
class Failing(Points):
    """Fails in training, while there is a dog."""

    def step(self, model, batch):
        if model.training:
            self.statistics["seen"] = self.statistics.get("seen", 0) + 1
            if self.statistics["seen"] > 12 and "DOG" in os.environ:
                raise RuntimeError("the dog ate the batch")
        return super().step(model, batch)
'''
WORDS = ("failing.py:Failing", "--n", 60, "--batch-size", 4, "--epochs", 3)


def test_a_model_from_a_file_with_its_arguments(run: Run, commit):
    commit(**{"mine.py": MINE})
    done = run(*POINTS, "--model", "mine.py:MyNet", "--model.hidden", 16)
    assert done.config()["model"] == {"class": "mine.py:MyNet", "in_features": 2, "num_classes": 2, "hidden": 16}
    again = run("--config", done.path / "config.yaml", quick=False)
    assert again.digests == done.digests


def test_an_optimizer_a_loss_and_a_transform_of_ones_own(run: Run, commit):
    commit(**{"mine.py": MINE})
    words = ("--optimizer", "mine.py:Signs", "--optimizer.length", 0.001, "--loss", "mine.py:Squares")
    transforms = "[{class: 'mine.py:Flip', chance: 0.1}, RandomHorizontalFlip]"
    done = run("image-classification", "--epochs", 1, *words, "--scheduler", "null", "--augment", transforms)
    assert done.config()["optimizer"] == {"class": "mine.py:Signs", "length": 0.001}
    assert done.config()["task"]["loss"] == {"class": "mine.py:Squares", "scale": 1.0}
    assert done.config()["task"]["augment"][0] == {"class": "mine.py:Flip", "chance": 0.1}


def test_mistakes_in_ones_own_file_are_named_with_the_line(refused: Refused, commit):
    commit(**{"broken.py": "x = (\n", "failing.py": "import torch\n\nwidth = tensor\n", "mine.py": MINE})
    assert "broken.py:1: '(' was never closed" in refused("run", *POINTS, "--model", "broken.py:Net")
    message = refused("run", *POINTS, "--model", "failing.py:Net")
    assert "NameError in" in message
    assert "failing.py:3" in message
    assert "did you mean 'MyNet'?" in refused("run", *POINTS, "--model", "mine.py:MyNett")
    message = refused("run", *POINTS, "--model", "mine.py:MyNet", "--model.hiden", 3, "--model.in_features", "two")
    assert "--model.hiden: there is no argument 'hiden' (did you mean 'hidden'?)" in message
    assert "--model.in_features: expected a whole number, got the text 'two'" in message
    assert "is no model" in refused("run", *POINTS, "--model", "mine.py:Flip")


def test_a_run_that_fails_is_kept_with_its_traceback(cli: Cli, commit, project: Path, monkeypatch: pytest.MonkeyPatch):
    commit(**{"failing.py": FAILING})
    monkeypatch.setenv("DOG", "hungry")
    answer = cli("run", *WORDS, *QUICK)
    assert answer.code == 1
    assert "RuntimeError: the dog ate the batch" in answer.err
    assert answer.err.count("Traceback") == 1
    [folder] = (project / "runs" / "Failing").iterdir()
    assert answer.err.endswith(
        "error: RuntimeError: the dog ate the batch\n"
        f"the run is kept: runs/Failing/{folder.name}\n"
        f"to go on: deepdiva resume runs/Failing/{folder.name}\n"
    )
    record = RunFolder.open(folder).record
    assert record["status"] == "failed"
    assert record["error"]["type"] == "RuntimeError"
    assert "failing.py" in record["error"]["traceback"]
    assert "the dog ate the batch" in (folder / "log.txt").read_text()
    listed = json.loads(cli("runs", "ls", "--status", "failed", "--json").out)
    assert [row["id"] for row in listed] == [folder.name]
    shown = cli("runs", "show", folder.name[-6:]).out
    assert "the dog ate the batch" in shown
    assert f"deepdiva resume runs/Failing/{folder.name}" in shown


def test_a_failed_run_goes_on_once_the_cause_is_gone(
    cli: Cli, run: Run, commit, project: Path, monkeypatch: pytest.MonkeyPatch
):
    commit(**{"failing.py": FAILING})
    whole = run(*WORDS)
    with monkeypatch.context() as patch:
        patch.setenv("DOG", "hungry")
        assert cli("run", *WORDS, *QUICK).code == 1
    answer = cli("resume", "last")
    assert answer.code == 0, answer.err
    resumed = find_run("last")
    assert resumed.id != whole.id
    assert resumed.status == "completed"
    assert resumed.digests == whole.digests


@pytest.mark.parametrize("source", ["image-classification", "points"])
def test_a_new_task_runs_as_it_is(cli: Cli, run: Run, commit, source: str):
    answer = cli("new", "my-task", "--from", source)
    assert answer.code == 0
    assert "deepdiva run my_task.py:MyTask" in answer.out
    commit()
    done = run("my_task.py:MyTask", "--epochs", 1)
    assert done.path.parent.name == "MyTask"
    assert done.results["test/accuracy"] > 0.4


def test_a_new_task_passes_its_checks_and_the_test_that_comes_with_it(cli: Cli, project: Path):
    assert cli("new", "dots", "--from", "points", "--into", "tasks").code == 0
    checked = cli("check", "tasks/dots.py:Dots", "--n", 60, "--json")
    assert checked.code == 0, checked.out
    assert {"overfits one batch", "gradients", "figures"} <= {point["name"] for point in json.loads(checked.out)}
    spec = importlib.util.spec_from_file_location("test_of_a_new_task", project / "tasks" / "test_dots.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.test_dots_conforms()


def test_a_task_that_breaks_the_contract_fails_its_check(cli: Cli, commit, monkeypatch: pytest.MonkeyPatch):
    commit(**{"failing.py": FAILING})
    monkeypatch.setenv("DOG", "hungry")
    answer = cli("check", "failing.py:Failing", "--n", 60)
    assert answer.code == 1
    assert "FAIL  overfits one batch" in answer.out
    assert "the dog ate the batch" in answer.out
