"""Words of the command line become settings; each mistake names its option."""

from __future__ import annotations

import pytest

from deepdiva.config import parse_words
from deepdiva.config.settings import table
from deepdiva.config.words import as_option, shortest_option


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("--epochs 3", {"epochs": 3}),
        ("--epochs=3", {"epochs": 3}),
        ("--batch-size 8 --runs-dir x", {"batch_size": 8, "runs_dir": "x"}),
        ("--batch_size 8", {"batch_size": 8}),
        ("--optimizer.lr 1e-4", {"optimizer": {"lr": 1e-4}}),
        ("--optimizer.weight-decay 0", {"optimizer": {"weight_decay": 0}}),
        ("--scheduler.T_max 5 --scheduler LinearLR", {"scheduler": {"class": "LinearLR", "T_max": 5}}),
        ("--model nets.py:MyNet --model.hidden [64,8]", {"model": {"class": "nets.py:MyNet", "hidden": [64, 8]}}),
        ("--scheduler null", {"scheduler": None}),
        ("--model.backbone resnet18 --model.backbone.weights null",
         {"model": {"backbone": {"class": "resnet18", "weights": None}}}),
        ("--patience 3 --training.clip-norm 0.5", {"training": {"patience": 3, "clip_norm": 0.5}}),
        ("--label-smoothing 0.1 --task.size null", {"task": {"label_smoothing": 0.1, "size": None}}),
        ("--loss CrossEntropyLoss --loss.weight x", {"task": {"loss": {"class": "CrossEntropyLoss", "weight": "x"}}}),
        ("--flip --no-tensorboard", {"task": {"flip": True}, "logging": {"tensorboard": False}}),
        ("--flip false --allow-dirty true", {"task": {"flip": False}, "allow_dirty": True}),
        ("--logging.no-tensorboard --no-task.flip", {"logging": {"tensorboard": False}, "task": {"flip": False}}),
        ("--tensorboard=false", {"logging": {"tensorboard": False}}),
        ("--experiment 2026 --data null --device 0", {"experiment": "2026", "data": None, "device": "0"}),
        ("--seed -5", {"seed": -5}),
        ("--data=--odd", {"data": "--odd"}),
        ("--data=a=b", {"data": "a=b"}),
        ("--optimizer.lr loguniform(1e-4,1e-1)", {"optimizer": {"lr": "loguniform(1e-4,1e-1)"}}),
        ("", {}),
    ],
)  # fmt: skip
def test_words_become_settings(task, words: str, values: dict[str, object]):
    layer = parse_words(words.split(), task)
    assert list(layer.problems) == []
    assert layer.values == values


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--lr 0.1", "--lr: there is no such option (did you mean `--optimizer.lr`?)"),
        ("--epoch 3", "--epoch: there is no such option (did you mean `--epochs`?)"),
        ("--batch 3", "--batch: there is no such option (see --help for all options)"),
        ("--optim.lr 3", "--optim.lr: there is no such option (did you mean `--optimizer.lr`?)"),
        ("--training.label-smoothing 1", "did you mean `--task.label-smoothing`?"),
        ("--confg a.yaml", "--confg: there is no such option (did you mean `--config`?)"),
        ("--print-confg", "did you mean `--print-config`?"),
        ("--task points", "--task: there is no such option (the task is the first word: `deepdiva run TASK`)"),
        ("--qqqqq", "--qqqqq: there is no such option (see --help for all options)"),
        ("--model.class cnn", "--model.class: there is no such option (did you mean `--model`?)"),
        ("--epochs", "--epochs: a value is missing (write `--epochs VALUE`)"),
        ("--epochs --seed 3", "--epochs: a value is missing (write `--epochs VALUE`, or `--epochs=VALUE` for one"),
        ("--epochs 3 --epochs=4", "--epochs: given twice (the first time as --epochs; remove one of the two)"),
        ("--patience 3 --training.patience 4", "--training.patience: given twice (the first time as --patience"),
        ("--flip --no-flip", "--no-flip: given twice (the first time as --flip"),
        ("--no-epochs", "--no-epochs: only settings that are true or false have a `--no-` form"),
        ("--no-flip=true", "--no-flip: takes no value"),
        ("three", "'three': a word without an option in front of it (write `--option value`)"),
        ("-e 3", "-e: there are no options with one dash (all options begin with two: `--epochs 3`)"),
        ("--", "'--': a word without an option in front of it"),
        ("--size [1,2", "--size: this is not valid YAML"),
        ("--optimizer null --optimizer.lr 3", "--optimizer: is null, so it can have no arguments"),
        ("--epochs.x 3", "--epochs.x: there is no such option"),
        ("--training 3", "--training: there is no such option"),
        ("--data \udcff", "--data: the value is not valid UTF-8"),
    ],
)
def test_mistakes_name_their_option(task, words: str, complaint: str):
    layer = parse_words(words.split(), task, also=["--config", "--print-config"])
    assert len(layer.problems) == 1
    assert complaint in str(layer.problems[0])


def test_a_component_may_be_given_whole(task):
    layer = parse_words(["--model", "{class: cnn, width: 3}", "--model.depth", "2"], task)
    assert layer.values == {"model": {"class": "cnn", "width": 3, "depth": 2}}


def test_all_mistakes_at_once(task):
    layer = parse_words(["x", "--lr", "1", "--epoch", "3", "--no-epochs", "--seed", "3"], task)
    assert len(layer.problems) == 4
    assert layer.values == {"seed": 3}


def test_places_are_the_options(task):
    layer = parse_words(["--label-smoothing", "0.1", "--model", "cnn", "--model.width=3"], task)
    assert layer.where("task.label_smoothing") == "--label-smoothing"
    assert layer.where("model.width") == "--model.width"
    assert layer.where("model.class") == "--model"
    assert layer.where("elsewhere") == "command line"


def test_how_settings_are_written(task):
    assert as_option("batch_size") == "--batch-size"
    assert as_option("scheduler.T_max") == "--scheduler.T_max"
    assert as_option("optimizer.weight_decay") == "--optimizer.weight_decay"
    assert shortest_option("training.patience", table(task)) == "--patience"
