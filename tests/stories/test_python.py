"""The same from Python: a whole experiment in 15 lines, and the record kept around a loop of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.stories.conftest import Cli

from deepdiva import Config, Run, RunFolder, UserError, train


def test_an_experiment_in_a_few_lines(project: Path, capsys: pytest.CaptureFixture[str]):
    scores = {}
    for optimizer in ("SGD", "AdamW"):
        run = train(
            Config(
                task={"class": "points", "n": 100},
                data="moons",
                epochs=3,
                seed=7,
                threads=1,
                optimizer={"class": optimizer, "lr": 0.01},
                logging={"figures": "none"},
            )
        )
        scores[optimizer] = run.results["test/accuracy"]
        assert run.status == "completed"
        assert len(run.predictions("test")["prediction"]) == 20
        assert [event["epoch"] for event in run.events("val/accuracy")] == [0, 1, 2, 3]
    assert set(scores) == {"SGD", "AdamW"}
    assert capsys.readouterr() == ("", "")  # whoever calls decides what is printed


def test_python_and_the_command_line_give_the_same_run(project: Path, cli: Cli):
    words = ("points", "--n", 100, "--epochs", 2, "--seed", 3, "--threads", 1, "--figures", "none", "--json")
    of_words = RunFolder.open(json.loads(cli("run", *words).out)["path"])
    config = Config(task={"class": "points", "n": 100}, epochs=2, seed=3, threads=1, logging={"figures": "none"})
    assert train(config).digests == of_words.digests


def test_mistakes_are_named_at_once_and_nothing_is_written(project: Path):
    with pytest.raises(UserError) as caught:
        Config(task="points", epochs=-1, batch_size="many", sed=3)
    for part in ("epochs: expected a whole number of at least 0, got -1", "batch_size: ", "did you mean 'seed'?"):
        assert part in str(caught.value)
    with pytest.raises(UserError) as caught:
        train(Config(task={"class": "points", "nois": 0.1}, optimizer={"class": "AdamW", "lrr": 1}, model="nope"))
    for part in ("'task.nois'", "'optimizer.lrr'", "no model named 'nope'"):
        assert part in str(caught.value)
    assert not (project / "runs").exists()


def test_a_loop_of_ones_own_is_recorded_like_any_run(project: Path, cli: Cli):
    random = np.random.default_rng(0)
    with Run.create("own-loop", config={"rate": 0.5}, seed=0) as run:
        value = 1.0
        for step in range(1, 6):
            value *= 0.5 + 0.01 * random.random()
            run.log(step, {"train/loss": value})
        run.record(results={"final/loss": value})
    folder = RunFolder.open(run.path)
    assert folder.status == "completed"
    assert folder.config() == {"rate": 0.5}
    assert len(list(folder.events("train/loss"))) == 5
    assert {"code", "environment", "config", "metrics"} <= set(folder.digests)
    [row] = json.loads(cli("runs", "ls", "--json").out)
    assert row["results"] == {"final/loss": value}
    assert "final/loss" in cli("runs", "show", run.id).out


def test_a_loop_that_fails_is_kept_and_says_why(project: Path, cli: Cli):
    with pytest.raises(ZeroDivisionError), Run.create("own-loop") as run:
        run.log(1, {"loss": 1 / 0})
    assert RunFolder.open(run.path).status == "failed"
    assert "ZeroDivisionError" in cli("runs", "show", "last").out
