"""Kinds of problems, one file each; found by short name, by import path, in a user's own file, or in a plug-in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from deepdiva.errors import Problem, UserError, UserErrors

if TYPE_CHECKING:
    from deepdiva.config import Component, Kind, Layer, Resolved, TaskInfo
    from deepdiva.config.resolve import ComponentCheck
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
    found: type[Task] = describe(name).cls
    return found


def describe(name: str) -> TaskInfo:
    """The task called `name`, as the configuration needs to know it; a short name in its usual spelling."""
    from deepdiva.config import TaskInfo
    from deepdiva.config.locate import find

    found = find(_kind(name), name, where="task")
    return TaskInfo(name=found.target, cls=found.object, preset=found.object.preset)


def configure(
    name: str | None,
    *,
    layers: Sequence[Layer] = (),
    words: Sequence[str] = (),
    also: Sequence[str] = (),
    check_components: ComponentCheck | None = None,
) -> Resolved:
    """The whole configuration of a run: defaults < the task's preset < layers < words of the command line.

    Args:
        name: The task's name; None where a layer names it.
        layers: Settings from files or from Python, later ones win.
        words: Options as on the command line.
        also: Further options of the command, to be suggested for a misspelt one.
        check_components: Gives the mistakes in the components that all tasks have; see `resolve`.

    Raises:
        UserErrors: All mistakes at once.
    """
    from deepdiva.config import parse_words, resolve, task_name

    found = name or task_name(layers)
    try:
        if found is None:
            raise UserError("no task is named", f"it comes first: {', '.join(NAMES)}, or a file: my_task.py:MyTask")
        task = describe(found)
    except UserError as error:
        problems = [problem for layer in layers for problem in layer.problems]
        raise UserErrors([*problems, Problem(error.message, None, error.hint)]) from error.__cause__
    check = partial(_problems, find(found).kinds, check_components)
    return resolve(task, layers=[*layers, parse_words(words, task, also=also)], check_components=check)


def experiment_name(name: str) -> str:
    """The folder for runs of a task that is given no other: `points`, and `MyTask` for `my_task.py:MyTask`."""
    return name if name in NAMES else name.replace(":", ".").rpartition(".")[2]


def create(resolved: Resolved) -> Task:
    """The task that a configuration names, with its settings."""
    return find(resolved.config.task.target)(**resolved.task_settings)


def _problems(
    kinds: Mapping[str, Kind],
    shared: ComponentCheck | None,
    components: Mapping[str, Component],
    origins: Mapping[str, str],
) -> Iterator[Problem]:
    """Mistakes in the components that the task declares, and in those that all tasks share."""
    from deepdiva.config import problems_in

    if shared is not None:
        yield from shared(components, origins)
    for path, component in components.items():
        group, _, rest = path.partition(".")
        kind = kinds.get(rest.partition(".")[0]) if group == "task" else None
        if kind is not None:
            yield from problems_in(kind, component, where=path, origins=origins)


def _kind(name: str) -> Kind:
    from deepdiva.config import Kind

    short = dict(NAMES)
    if name not in NAMES and ":" not in name and "." not in name:
        from importlib.metadata import entry_points  # 50 ms, so only for a name that is not ours

        short |= {entry.name: entry.value for entry in entry_points(group=ENTRY_POINTS)}
    return Kind("task", base="deepdiva.engine.task:Task", short=short, namespaces=())
