"""What --help and completion show: every setting once, with its type, default and description."""

from __future__ import annotations

from deepdiva.config import options
from deepdiva.config.settings import table


def test_every_setting_is_an_option(task):
    found = options(task)
    assert sorted(option.path for option in found) == sorted(table(task))
    assert len({option.short for option in found}) == len(found)
    assert [option.path for option in found if not option.description] == []


def test_the_tasks_own_options_come_first(task):
    groups = [option.group for option in options(task)]
    assert list(dict.fromkeys(groups)) == ["task", "common", "training", "logging"]


def test_an_option_tells_all_about_itself(task):
    by_path = {option.path: option for option in options(task)}
    smoothing = by_path["task.label_smoothing"]
    assert smoothing.short == "--label-smoothing"
    assert smoothing.type == "a number from 0 to 1"
    assert smoothing.default == "0.0"
    assert smoothing.description == "Share of the target that is spread over all classes."
    assert by_path["task.channels"].choices == ("auto", "gray", "rgb")
    assert by_path["task.flip"].is_flag
    assert by_path["task.loss"].is_component
    assert by_path["training.patience"].short == "--patience"


def test_defaults_are_those_of_the_preset(task):
    by_path = {option.path: option for option in options(task)}
    assert by_path["epochs"].default == "12"
    assert by_path["optimizer"].default == "{class: AdamW, lr: 0.003}"
    assert by_path["scheduler"].default == "null"


def test_a_setting_without_a_default():
    from dataclasses import dataclass

    from deepdiva.config import TaskInfo

    @dataclass(frozen=True)
    class Needs:
        epochs: int
        folder: str

    by_path = {option.path: option for option in options(TaskInfo("needs", Needs))}
    assert by_path["task.folder"].default is None
    assert by_path["task.epochs"].short == "--task.epochs"
    assert by_path["epochs"].short == "--epochs"
