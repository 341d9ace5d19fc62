from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepdiva import RunFolder, tasks
from deepdiva.config import Config, from_mapping
from deepdiva.experiments import chaos, fresh
from deepdiva.experiments.components import problems_of


def whole(**settings: Any) -> Config:
    values = {"task": {"class": "trembling.py:Trembling", "pause": 0.002}, "seed": 3, "epochs": 2, "threads": 1}
    values |= {"logging": {"figures": "none", "tensorboard": False}, **settings}
    return tasks.configure(None, layers=[from_mapping(values, "test")], check_components=problems_of).config


def test_the_instants_lie_within_steps_and_after_the_ends_of_epochs(run_task: Callable[..., RunFolder]) -> None:
    run = run_task()
    kills = chaos.instants(run, 40, random.Random(0))
    assert kills == chaos.instants(run, 40, random.Random(0)) != chaos.instants(run, 40, random.Random(1))
    assert kills == sorted(kills, key=lambda kill: (kill.step, kill.delay))
    assert sum(kill.step % 6 == 0 for kill in kills) >= 20  # 6 steps an epoch
    assert {kill.step for kill in kills} > {6, 12, 18}


def test_a_run_without_a_step_is_killed_at_once() -> None:
    assert chaos.instants(RunFolder(Path("nowhere"), {}), 1, random.Random(0))[0].step == 0


@pytest.mark.usefixtures("warm_python")
def test_a_training_that_is_killed_and_resumed_ends_in_the_same_bits(tmp_path: Path) -> None:
    outcome = chaos.chaos(whole(workers=2), kills=3, draw=1, folder=tmp_path / "trial")
    assert len(outcome.kills) == 3
    assert outcome.same, outcome.detail
    killed = RunFolder.open(outcome.killed)
    assert len(killed.record["resumed"]) == 3
    assert outcome.undisturbed != outcome.killed


def test_other_bits_are_told_with_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[RunFolder] = []

    def train(request: fresh.Request, progress: Any) -> RunFolder:
        values = request.config if not trained else {**request.config, "seed": 4}
        trained.append(fresh._train(replace(request, config=values, kill=None)))
        return trained[-1]

    monkeypatch.setattr(chaos, "train_fresh", train)
    outcome = chaos.chaos(whole(), kills=0, draw=1, folder=tmp_path / "trial")
    assert (outcome.same, outcome.kills) == (False, ())
    assert "before the first step" in outcome.detail
