"""All settings by name, and the nearest one to a misspelt name."""

from __future__ import annotations

import pytest

from deepdiva.config.settings import OTHER_NAMES, USUAL_ARGUMENTS, belongs, full_paths, suggest, table


def test_the_table_has_the_shared_settings_and_those_of_the_task(task):
    settings = table(task)
    assert {"epochs", "optimizer", "training.patience", "logging.every", "task.label_smoothing"} <= set(settings)
    assert not {"task", "training", "logging"} & set(settings)


def test_every_setting_has_a_description(task):
    assert [path for path, setting in table(task).items() if not setting.description] == []


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("epochs", ["epochs"]),
        ("patience", ["training.patience"]),
        ("training.patience", ["training.patience"]),
        ("loss", ["task.loss"]),
        ("loss.weight", ["task.loss.weight"]),
        ("model.hidden", ["model.hidden"]),
        ("task.loss", ["task.loss"]),
        ("nothing", []),
    ],
)
def test_short_names(task, name: str, paths: list[str]):
    assert full_paths(name, table(task)) == paths


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("epochs", True), ("model.hidden", True), ("model.backbone.depth", True), ("task.loss.weight", True),
        ("epochs.x", False), ("training.patence", False), ("task", False), ("x", False),
    ],
)  # fmt: skip
def test_what_belongs_to_the_settings(task, path: str, answer: bool):
    assert belongs(path, table(task)) is answer


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("lr", "optimizer.lr"),
        ("epoch", "epochs"),
        ("batchsize", "batch_size"),
        ("batch-size", "batch_size"),
        ("labelsmoothing", "task.label_smoothing"),
        ("patence", "training.patience"),
        ("trainer.patience", "training.patience"),
        ("training.epochs", "epochs"),
        ("num_workers", "workers"),
        ("learning-rate", "optimizer.lr"),
        ("momentun", "optimizer.momentum"),
        ("t_max", "scheduler.T_max"),
        ("output_folder", "runs_dir"),
        ("confg", "config"),
        ("qqqqqq", None),
    ],
)
def test_suggestions(task, name: str, meant: str | None):
    assert suggest(name, table(task), ["config"]) == meant


def test_other_names_lead_to_settings_that_exist(task):
    known = {*table(task), *(f"{group}.{name}" for group, names in USUAL_ARGUMENTS.items() for name in names)}
    assert set(OTHER_NAMES.values()) <= known
    assert not set(OTHER_NAMES) & known
