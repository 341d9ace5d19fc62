"""All options of a run with one task, for `--help` and for the shell's completion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deepdiva.config.layers import get
from deepdiva.config.schema import REQUIRED, Setting, choices, describe
from deepdiva.config.settings import TaskInfo, table
from deepdiva.config.values import plain
from deepdiva.config.words import shortest_option
from deepdiva.config.yaml_writer import write_flow


@dataclass(frozen=True)
class Option:
    """One option as `--help` shows it.

    Args:
        path: The setting's full name: `training.patience`.
        short: The shortest way to write it on the command line: `--patience`.
        type: What it allows, in words.
        default: What it is when nobody says otherwise, as YAML; None when a value is needed.
        description: What it does.
        group: `common`, `task`, `training` or `logging`.
        choices: The words it allows, when they are few.
        is_flag: Whether `--x` and `--no-x` are enough.
        is_component: Whether arguments may follow: `--model.width 32`.
    """

    path: str
    short: str
    type: str
    default: str | None
    description: str
    group: str
    choices: tuple[str, ...]
    is_flag: bool
    is_component: bool


def options(task: TaskInfo) -> list[Option]:
    """Every option of `deepdiva run` with this task: the task's own first, then those that all tasks share."""
    settings = table(task)
    found = [_option(setting, task, settings) for setting in settings.values()]
    order = ["task", "common", "training", "logging"]
    return sorted(found, key=lambda option: order.index(option.group))


def _option(setting: Setting, task: TaskInfo, settings: dict[str, Setting]) -> Option:
    default: Any = get(task.preset, setting.path, setting.default)
    return Option(
        path=setting.path,
        short=shortest_option(setting.path, settings),
        type=describe(setting.annotation),
        default=None if default is REQUIRED else write_flow(plain(default)),
        description=setting.description,
        group=setting.group or "common",
        choices=choices(setting.annotation),
        is_flag=setting.is_flag,
        is_component=setting.is_component,
    )
