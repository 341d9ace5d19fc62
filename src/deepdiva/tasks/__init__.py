"""Kinds of problems, one file each; found by short name, by import path, in a user's own file, or in a plug-in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deepdiva.errors import UserError

if TYPE_CHECKING:
    from deepdiva.config import Kind, Layer, Resolved, TaskInfo
    from deepdiva.engine.task import Task

NAMES = {
    "image-classification": "deepdiva.tasks.image_classification:ImageClassification",
    "points": "deepdiva.tasks.points:Points",
}
ENTRY_POINTS = "deepdiva.tasks"


def find(name: str) -> type[Task]:
    """The task class called `name`: a short name, `pkg.module:Class`, `file.py:Class`, or an installed plug-in's name.

    Raises:
        UserError: There is none, or it is no task.
    """
    from deepdiva.config import locate

    found: type[Task] = locate(_kind(name), name, where="task")
    return found


def describe(name: str) -> TaskInfo:
    """The task called `name`, as the configuration needs to know it."""
    from deepdiva.config import TaskInfo

    cls = find(name)
    return TaskInfo(name=name, cls=cls, preset=cls.preset)


def configure(
    name: str | None, *, layers: Sequence[Layer] = (), words: Sequence[str] = (), also: Sequence[str] = ()
) -> Resolved:
    """The whole configuration of a run: defaults < the task's preset < layers < words of the command line.

    Args:
        name: The task's name; None where a layer names it.
        layers: Settings from files or from Python, later ones win.
        words: Options as on the command line.
        also: Further options of the command, to be suggested for a misspelt one.

    Raises:
        UserErrors: All mistakes at once.
    """
    from deepdiva.config import parse_words, resolve, task_name

    found = name or task_name(layers)
    if found is None:
        raise UserError("no task is named", f"name one of {', '.join(NAMES)}, or a file: my_task.py:MyTask")
    task = describe(found)
    return resolve(task, layers=[*layers, parse_words(words, task, also=also)])


def experiment_name(name: str) -> str:
    """The folder for runs of a task that is given no other: `points`, and `MyTask` for `my_task.py:MyTask`."""
    return name if name in NAMES else name.replace(":", ".").rpartition(".")[2]


def create(resolved: Resolved) -> Task:
    """The task that a configuration names, with its settings."""
    return find(resolved.config.task.target)(**resolved.task_settings)


def _kind(name: str) -> Kind:
    from deepdiva.config import Kind

    short = dict(NAMES)
    if name not in NAMES and ":" not in name and "." not in name:
        from importlib.metadata import entry_points  # 50 ms, so only for a name that is not ours

        short |= {entry.name: entry.value for entry in entry_points(group=ENTRY_POINTS)}
    return Kind("task", base="deepdiva.engine.task:Task", short=short, namespaces=())
