"""Layers in, one checked configuration out, with the place that every value came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deepdiva.config.layers import Layer, Merged, fold, from_defaults, from_mapping, get, merge
from deepdiva.config.schema import REQUIRED, Setting, WrongValue, check
from deepdiva.config.search import SearchRange, find_ranges, parse_range
from deepdiva.config.settings import TaskInfo, suggest, table
from deepdiva.config.tree import GROUPS, Config
from deepdiva.config.values import CLASS, Component, in_words, plain
from deepdiva.config.words import as_option
from deepdiva.config.yaml_writer import write
from deepdiva.errors import Problem, UserErrors


@dataclass(frozen=True)
class Resolved:
    """A complete configuration.

    Args:
        config: All settings, every default in place.
        task_settings: The task's fields in their own types, ready for its class.
        origins: The place each value came from by its dotted path: `run.yaml:3`, `--epochs`, `task preset`, `default`.
    """

    config: Config
    task_settings: Mapping[str, Any]
    origins: Mapping[str, str]

    def with_components(self, components: Mapping[str, Component | None]) -> Resolved:
        """A copy with other components, such as completed ones: `{"model": …, "task.loss": …}`."""
        own = {path.removeprefix("task."): item for path, item in components.items() if path.startswith("task.")}
        config = self.config.with_components(components)
        return replace(self, config=config, task_settings={**self.task_settings, **own})


def task_name(layers: Sequence[Layer]) -> str | None:
    """The task that the layers name, the last one first; None when none does."""
    for layer in reversed(layers):
        value = layer.values.get("task")
        name = value.get(CLASS) if isinstance(value, Mapping) else value
        if isinstance(name, str):
            return name
    return None


def resolve(task: TaskInfo, *, layers: Sequence[Layer]) -> Resolved:
    """The configuration that the layers give on top of the task's preset and the defaults.

    Args:
        task: The task that runs.
        layers: Files and options, each above the ones before it.

    Raises:
        UserErrors: With every mistake in all layers.
    """
    settings = table(task)
    merged = _merge_all(task, layers, settings)
    problems = [problem for layer in layers for problem in layer.problems]
    problems += _other_tasks(task, layers)
    problems += _unknown_keys(merged, settings)
    problems += _refused_ranges(merged)
    values: dict[str, Any] = {}
    for setting in settings.values():
        try:
            values[setting.path] = _checked(setting, merged)
        except WrongValue as error:
            problems.append(_problem_at(setting.path, merged, error))
    if problems:
        raise UserErrors(_sorted(problems))
    return Resolved(_tree(task, values), _below("task", values), dict(merged.origins))


def search_ranges(task: TaskInfo, *, layers: Sequence[Layer]) -> dict[str, SearchRange]:
    """The search ranges in the layers by their dotted paths; a trial resolves with one more layer on top of them."""
    merged = _merge_all(task, layers, table(task))
    found: dict[str, SearchRange] = {}
    problems = []
    for path, text in find_ranges(merged.values):
        try:
            found[path.removesuffix(f".{CLASS}")] = parse_range(text)
        except WrongValue as error:
            problems.append(_problem_at(path, merged, error))
    if problems:
        raise UserErrors(problems)
    return found


def explain(resolved: Resolved) -> str:
    """The configuration as YAML with the place that each value came from behind it."""
    lines = write(resolved.config.to_mapping()).splitlines()
    width = max(len(line) for line in lines if len(line) <= 60)
    path: list[tuple[int, str]] = []
    explained = []
    for line in lines:
        text = line.lstrip(" ")
        depth = len(line) - len(text)
        key = text.partition(":")[0].strip('"')
        path = [*(item for item in path if item[0] < depth), (depth, key)]
        has_value = not text.endswith(":") and not text.startswith("- ")
        place = _place(resolved.origins, [name for _, name in path])
        explained.append(f"{line:<{width}}  # {place}" if has_value else line)
    return "\n".join(explained) + "\n"


def _place(origins: Mapping[str, str], parts: list[str]) -> str:
    exact = ".".join(parts)
    return origins.get(exact, origins.get(exact.removesuffix(f".{CLASS}"), "default"))


def _merge_all(task: TaskInfo, layers: Sequence[Layer], settings: Mapping[str, Setting]) -> Merged:
    """Defaults, preset, the layers, and the task's name on top."""
    components = frozenset({"task", *(path for path, setting in settings.items() if setting.is_component)})
    name = Layer({"task": {CLASS: task.name}}, lambda _: "command line")
    below = [name, from_defaults(settings.values()), from_mapping(task.preset, "task preset")]
    return merge([*below, *(_for_task(task, layer) for layer in layers), name], components)


def _for_task(task: TaskInfo, layer: Layer) -> Layer:
    """The layer in a form that merges: empty groups left out, another task's settings too."""
    values = {key: value for key, value in layer.values.items() if value is not None or key not in GROUPS}
    if _names_other_task(task, layer):
        del values["task"]
    return replace(layer, values=values)


def _names_other_task(task: TaskInfo, layer: Layer) -> bool:
    name = task_name([layer])
    return name is not None and fold(name) != fold(task.name)


def _other_tasks(task: TaskInfo, layers: Sequence[Layer]) -> Iterator[Problem]:
    for layer in layers:
        if _names_other_task(task, layer):
            message = f"these settings are for the task {task_name([layer])!r}, but {task.name!r} is to run"
            yield Problem(message, layer.where("task"), "remove the line, or run that task")


def _unknown_keys(merged: Merged, settings: Mapping[str, Setting]) -> Iterator[Problem]:
    """A problem for every key that is no setting."""
    for key, value in merged.values.items():
        if key in settings:
            continue
        if key not in (*GROUPS, "task"):
            yield _unknown(key, merged, settings)
        elif not isinstance(value, Mapping):
            yield _problem_at(key, merged, WrongValue(f"expected settings below it, got {in_words(value)}"))
        else:
            for leaf in value:
                if f"{key}.{leaf}" not in settings and (key, leaf) != ("task", CLASS):
                    yield _unknown(f"{key}.{leaf}", merged, settings)


def _unknown(path: str, merged: Merged, settings: Mapping[str, Setting]) -> Problem:
    layer = merged.givers[path]
    match = suggest(path, settings)
    hint = "see --help for all settings"
    if "." in path and path in merged.values:
        above, _, leaf = path.rpartition(".")
        hint = f"write `{above}:` and below it, indented, `{leaf}:`"
    elif match:
        hint = f"did you mean `{as_option(match) if layer.option_names else match}`?"
    return Problem(f"there is no setting {path!r}", layer.where(path), hint)


def _refused_ranges(merged: Merged) -> Iterator[Problem]:
    for path, text in find_ranges(merged.values):
        try:
            parse_range(text)
            error = WrongValue(f"`{text}` is a search range, and a plain run needs one value", "add `--tune TRIALS`")
        except WrongValue as wrong:
            error = wrong
        yield _problem_at(path.removesuffix(f".{CLASS}"), merged, error)


def _checked(setting: Setting, merged: Merged) -> Any:
    """The value of a setting in its own type; a search range counts as the default, for it is reported elsewhere."""
    value = get(merged.values, setting.path, REQUIRED)
    if value is REQUIRED:
        raise WrongValue(f"'{setting.leaf}' needs a value", f"write `{as_option(setting.path)} VALUE`")
    if setting.is_component and isinstance(value, Mapping) and CLASS not in value:
        raise WrongValue(
            f"'{setting.path}' has arguments but no class", f"write `{as_option(setting.path)} NAME` or `class: NAME`"
        )
    if any(find_ranges(value)):
        return None
    return check(setting.annotation, value)


def _problem_at(path: str, merged: Merged, error: WrongValue) -> Problem:
    """A problem at the place that gave a path its value; a file's line needs the setting's name beside it."""
    above = path
    while above and above not in merged.givers:
        above = above.rpartition(".")[0]
    if not above:
        return Problem(error.message, None, error.hint)
    layer = merged.givers[above]
    message = error.message if layer.option_names or f"'{path}" in error.message else f"'{path}': {error.message}"
    return Problem(message, layer.where(path), error.hint)


def _sorted(problems: Sequence[Problem]) -> list[Problem]:
    """Without repetitions, in the order of the places where they stand."""

    def place(problem: Problem) -> tuple[str, int]:
        name, _, line = (problem.where or "").rpartition(":")
        return (name, int(line)) if line.isdecimal() else (problem.where or "", 0)

    return sorted(dict.fromkeys(problems), key=place)


def _below(group: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {path.removeprefix(f"{group}."): value for path, value in values.items() if path.startswith(f"{group}.")}


def _tree(task: TaskInfo, values: Mapping[str, Any]) -> Config:
    """The frozen configuration of checked values."""
    own = {path: value for path, value in values.items() if "." not in path}
    groups = {group: _below(group, values) for group in GROUPS}
    return Config.model_validate({"task": Component(task.name, plain(_below("task", values))), **own, **groups})
