"""Layers in, one checked configuration out, with the place that every value came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deepdiva.config.components import components_in
from deepdiva.config.layers import DEFAULT, Layer, Merged, fold, from_defaults, from_mapping, get, merge
from deepdiva.config.schema import REQUIRED, Setting, WrongValue, check, describe, settings_of
from deepdiva.config.search import SearchRange, find_ranges, parse_range
from deepdiva.config.settings import TaskInfo, suggest, table
from deepdiva.config.tree import GROUPS, Config
from deepdiva.config.values import CLASS, Component, in_words, plain
from deepdiva.config.words import shortest_option
from deepdiva.errors import Problem, UserErrors

PRESET = "task preset"
_NESTED = ("task", *GROUPS)


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


def task_name(layers: Sequence[Layer]) -> str | None:
    """The task that the layers name, the last one first; None when none does."""
    for layer in reversed(layers):
        value = layer.values.get("task")
        name = value.get(CLASS) if isinstance(value, Mapping) else value
        if isinstance(name, str):
            return name
    return None


ComponentCheck = Callable[[Mapping[str, Component], Mapping[str, str]], Iterable[Problem]]
"""Gives the mistakes in components by their paths (`model`, `task.augment.0`), with the origins of all values."""


def resolve(task: TaskInfo, *, layers: Sequence[Layer], check_components: ComponentCheck | None = None) -> Resolved:
    """The configuration that the layers give on top of the task's preset and the defaults.

    Args:
        task: The task that runs.
        layers: Files and options, each above the ones before it.
        check_components: Looks at the components that the user said anything about, so that mistakes in their
            arguments are reported together with all others. It may import what they need (torch).

    Raises:
        UserErrors: With every mistake in all layers.
    """
    settings = table(task)
    merged = _merge_all(task, layers, settings)
    problems = [problem for layer in layers for problem in layer.problems]
    problems += [problem for layer in layers for problem in _misplaced(task, layer)]
    problems += _unknown_keys(merged, settings)
    problems += _refused_ranges(merged)
    values: dict[str, Any] = {}
    for setting in settings.values():
        try:
            values[setting.path] = _checked(setting, merged, settings)
        except WrongValue as error:
            problems.append(_problem_at(setting.path, merged, error))
    if check_components is not None:
        problems += check_components(_named_components(values, settings, merged), merged.origins)
    if problems:
        raise UserErrors(_sorted(problems))
    return Resolved(_tree(task, values), _below("task", values), dict(merged.origins))


def task_settings(cls: type, config: Config) -> dict[str, Any]:
    """The task's fields from a complete configuration, in their own types: `cls(**task_settings(cls, config))`."""
    arguments = config.task.arguments
    return {
        item.path: check(item.annotation, arguments[item.path]) for item in settings_of(cls) if item.path in arguments
    }


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


def _merge_all(task: TaskInfo, layers: Sequence[Layer], settings: Mapping[str, Setting]) -> Merged:
    """The task's name, the defaults, its preset, and the layers above them."""
    components = frozenset({"task", *(path for path, setting in settings.items() if setting.is_component)})
    name = Layer({"task": {CLASS: task.name}}, lambda _: "command line")
    below = [name, from_defaults(settings.values()), from_mapping(task.preset, PRESET)]
    return merge([*below, *(_fit(task, layer) for layer in layers)], components)


def _fit(task: TaskInfo, layer: Layer) -> Layer:
    """The layer without what cannot be merged: empty groups, and what `_misplaced` reports."""
    values = {key: value for key, value in layer.values.items() if "." not in key and _can_be_merged(key, value)}
    if _names_other_task(task, layer):
        values.pop("task", None)
    return replace(layer, values=values)


def _can_be_merged(key: str, value: Any) -> bool:
    return key not in _NESTED or isinstance(value, Mapping) or (key == "task" and isinstance(value, str))


def _names_other_task(task: TaskInfo, layer: Layer) -> bool:
    name = task_name([layer])
    return name is not None and fold(name) != fold(task.name)


def _misplaced(task: TaskInfo, layer: Layer) -> Iterator[Problem]:
    """Problems of a layer's form: dots in keys, a single value for a group, another task."""
    for key, value in layer.values.items():
        if "." in key:
            group, _, leaf = key.partition(".")
            yield Problem(
                f"the key '{key}' has a dot", layer.where(key), f"write `{group}:`, below it, indented, `{leaf}:`"
            )
        elif key in _NESTED and value is not None and not _can_be_merged(key, value):
            example = f"such as `{_first(key)}:`" if key in GROUPS else "`class:` and its settings"
            message = f"'{key}': expected settings below it, got {in_words(value)}"
            yield Problem(message, layer.where(key), f"write `{key}:` and below it, indented, {example}")
    if _names_other_task(task, layer):
        message = f"these settings are for the task '{task_name([layer])}', but '{task.name}' is to run"
        yield Problem(message, layer.where("task"), "remove the line, or run that task")


def _first(group: str) -> str:
    return next(iter(GROUPS[group].model_fields))


def _unknown_keys(merged: Merged, settings: Mapping[str, Setting]) -> Iterator[Problem]:
    """A problem for every key that is no setting."""
    for key, value in merged.values.items():
        if key in _NESTED:
            for leaf in value:
                if f"{key}.{leaf}" not in settings and (key, leaf) != ("task", CLASS):
                    yield _unknown(f"{key}.{leaf}", merged, settings)
        elif key not in settings:
            yield _unknown(key, merged, settings)


def _unknown(path: str, merged: Merged, settings: Mapping[str, Setting]) -> Problem:
    match = suggest(path, settings)
    hint = f"did you mean '{match}'?" if match else "see --help for all settings"
    if match and "." in match and match.rpartition(".")[0] != path.rpartition(".")[0]:
        group, _, leaf = match.rpartition(".")
        hint = f"did you mean '{leaf}' below '{group}:'?"
    return Problem(f"there is no setting '{path}'", merged.givers[path].where(path), hint)


def _refused_ranges(merged: Merged) -> Iterator[Problem]:
    for path, text in find_ranges(merged.values):
        try:
            parse_range(text)
            error = WrongValue(f"`{text}` is a search range, but a run needs one value", "write one value")
        except WrongValue as wrong:
            error = wrong
        yield _problem_at(path.removesuffix(f".{CLASS}"), merged, error)


def _checked(setting: Setting, merged: Merged, settings: Mapping[str, Setting]) -> Any:
    """The value of a setting in its own type; None for one with a search range, which is reported elsewhere."""
    value = get(merged.values, setting.path, REQUIRED)
    if value is REQUIRED:
        message = f"the task needs '{setting.leaf}': {describe(setting.annotation)}"
        raise WrongValue(message, f"write `{shortest_option(setting.path, settings)} VALUE`")
    if setting.is_component and isinstance(value, Mapping) and CLASS not in value:
        option = shortest_option(setting.path, settings)
        given = ", ".join(value) or "nothing"
        message = f"'{setting.path}' has arguments ({given}), but no class"
        raise WrongValue(message, f"write `{option} NAME`, or `class: NAME` in a file")
    if any(find_ranges(value)):
        return None
    return check(setting.annotation, value)


def _named_components(
    values: Mapping[str, Any], settings: Mapping[str, Setting], merged: Merged
) -> dict[str, Component]:
    """The components that are checked so far and that the user said anything about, by their paths."""
    found: dict[str, Component] = {}
    for path, value in values.items():
        places = {place for known, place in merged.origins.items() if f"{known}.".startswith(f"{path}.")}
        if settings[path].has_components and not places <= {DEFAULT, PRESET}:
            found |= components_in(path, value)
    return found


def _problem_at(path: str, merged: Merged, error: WrongValue) -> Problem:
    """A problem at the place that gave a path its value; where that is a file, the message names the setting."""
    known = path
    while known and known not in merged.givers:
        known = known.rpartition(".")[0]
    if known in ("", "task"):
        return Problem(error.message, None, error.hint)
    layer = merged.givers[known]
    is_named = layer.option_names or f"'{path}" in error.message
    return Problem(error.message if is_named else f"'{path}': {error.message}", layer.where(path), error.hint)


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
