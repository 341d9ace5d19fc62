"""Layers of settings (defaults, preset, files, command line), each with its places, and how they merge into one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepdiva.config.schema import REQUIRED, Setting
from deepdiva.config.search import is_range
from deepdiva.config.tree import Config
from deepdiva.config.values import CLASS, plain
from deepdiva.config.yaml_reader import read_path
from deepdiva.errors import Problem

DEFAULT = "default"


@dataclass(frozen=True)
class Layer:
    """Some settings and where each of them stands.

    Args:
        values: Nested values in the form of the YAML files.
        where: Gives the place of a dotted path: `run.yaml:3`, `--epochs`, `default`.
        problems: Mistakes found while the layer was read; `resolve` reports them with all others.
        option_names: Whether names in messages are written as options (`--epochs`) and not as keys (`epochs`).
    """

    values: Mapping[str, Any]
    where: Callable[[str], str]
    problems: Sequence[Problem] = ()
    option_names: bool = field(default=False, kw_only=True)


def read_file(path: Path | str) -> Layer:
    """The settings in a YAML file; UserError when there is none, mistakes in it are kept for `resolve`."""
    document = read_path(Path(path))
    return Layer(document.values, lambda dotted: f"{path}:{document.line(dotted)}", document.problems)


def from_mapping(values: Mapping[str, Any], name: str) -> Layer:
    """Settings from Python values; `name` says in messages where they come from."""
    return Layer(plain(values), lambda _: name)


def from_config(config: Config, name: str = "Config") -> Layer:
    """The settings that were named when `config` was made, without its defaults."""
    return from_mapping(config.model_dump(exclude_unset=True), name)


def from_defaults(settings: Iterable[Setting]) -> Layer:
    """The default of every setting that has one."""
    values: dict[str, Any] = {}
    for setting in settings:
        if setting.default is not REQUIRED:
            put(values, setting.path, plain(setting.default))
    return Layer(values, lambda _: DEFAULT)


def put(values: dict[str, Any], path: str, value: Any) -> None:
    """Set a value at a dotted path of nested mappings, making the mappings on the way."""
    *above, leaf = path.split(".")
    for part in above:
        values = values.setdefault(part, {})
    values[leaf] = value


def get(values: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """The value at a dotted path of nested mappings, or `default`."""
    found: Any = values
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return default
        found = found[part]
    return found


@dataclass
class Merged:
    """Layers merged into one: the values, and which layer gave each.

    Args:
        values: Nested values; every component is a mapping with `class`.
        origins: The place of every value by its dotted path.
        givers: The layer that gave each value.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    givers: dict[str, Layer] = field(default_factory=dict)


def merge(layers: Iterable[Layer], components: frozenset[str]) -> Merged:
    """All layers in one, later ones above earlier ones; `components` are the paths whose values are components."""
    merged = Merged()
    for layer in layers:
        _merge_into(merged.values, layer.values, "", layer, merged, components)
    return merged


def _merge_into(
    old: dict[str, Any], new: Mapping[str, Any], above: str, layer: Layer, merged: Merged, components: frozenset[str]
) -> None:
    for key, value in new.items():
        path = f"{above}.{key}" if above else key
        before = old.get(key)
        named = isinstance(value, str) and (path in components or (isinstance(before, dict) and CLASS in before))
        inside = {CLASS: value} if named else value
        if not isinstance(inside, Mapping):
            _forget(merged, path)
            old[key] = inside
            _remember(merged, path, layer)
            continue
        if not isinstance(before, dict) or _other_class(before, inside):
            _forget(merged, path)
            old[key] = {}
        if CLASS in inside or path not in merged.origins:
            _remember(merged, path, layer)
        _merge_into(old[key], inside, path, layer, merged, components)


def _other_class(before: Mapping[str, Any], inside: Mapping[str, Any]) -> bool:
    """Whether a new class replaces another one, so that the other's arguments must go."""
    if CLASS not in inside or CLASS not in before or is_range(before[CLASS]):
        return False
    return fold(before[CLASS]) != fold(inside[CLASS])


def fold(name: Any) -> str:
    """A class's name for comparison: case and `-`, `_`, `:` do not count, a leading `./` neither."""
    return str(name).lower().replace("-", "").replace("_", "").replace(":", ".").removeprefix("./")


def _remember(merged: Merged, path: str, layer: Layer) -> None:
    merged.origins[path] = layer.where(path)
    merged.givers[path] = layer


def _forget(merged: Merged, path: str) -> None:
    for known in [known for known in merged.origins if known == path or known.startswith(f"{path}.")]:
        del merged.origins[known]
        del merged.givers[known]
