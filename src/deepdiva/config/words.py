"""Settings from the words of a command line: `--epochs 3 --optimizer.lr=0.01 --no-tensorboard`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deepdiva.config.layers import Layer, put
from deepdiva.config.schema import Setting
from deepdiva.config.settings import TaskInfo, belongs, full_paths, suggest, table
from deepdiva.config.tree import GROUPS
from deepdiva.config.values import CLASS, in_words
from deepdiva.config.yaml_reader import read_flow
from deepdiva.errors import Problem, UserErrors

_NOTHING: Any = object()


def parse_words(words: Sequence[str], task: TaskInfo, *, also: Iterable[str] = ()) -> Layer:
    """The settings in the words after the task's name.

    Args:
        words: What follows `deepdiva run TASK`, without the options that the command itself reads (`--config`).
        task: The task, whose fields are options too.
        also: Names of the command's own options, to be suggested for a misspelt one.
    """
    reading = _Reading(table(task), tuple(name.lstrip("-").replace("-", "_") for name in also))
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or word == "--":
            reading.problems.append(_stray_word(word))
            if word.startswith("-") and rest and not rest[0].startswith("-"):
                rest.pop(0)
            continue
        option, equals, text = word.partition("=")
        reading.take(option, text if equals else None, rest)
    return Layer(reading.values(), reading.where, reading.problems, option_names=True)


def _stray_word(word: str) -> Problem:
    if word.startswith("-") and len(word) > 1 and word != "--":
        return Problem("there are no options with one dash", word, "all options begin with two: `--epochs 3`")
    return Problem("a word without an option in front of it", repr(word), "write `--option value`")


@dataclass
class _Reading:
    """What has been read so far: values by path, the option that gave each, and mistakes."""

    settings: Mapping[str, Setting]
    also: tuple[str, ...]
    found: dict[str, Any] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def take(self, option: str, text: str | None, rest: list[str]) -> None:
        """Read one option; `text` is what followed `=`, otherwise the value is the next of the `rest`."""
        path, negated = self.path(option)
        if path is None:
            self.unknown(option)
            if text is None and rest and not rest[0].startswith("--"):
                rest.pop(0)
            return
        value = self.negated(option, path, text) if negated else self.value(option, path, text, rest)
        if value is _NOTHING:
            return
        if path in self.found:
            self.problem("given twice", option, f"the first time as {self.options[path]}; remove one of the two")
            return
        self.found[path] = value
        self.options[path] = option

    def path(self, option: str) -> tuple[str | None, bool]:
        """The setting that an option means, and whether it is switched off (`--no-x`); None for an unknown one."""
        name = option[2:].replace("-", "_")
        for candidate, negated in ((name, False), (_without_no(name), True)):
            paths = [path for path in full_paths(candidate, self.settings) if self.is_option(path)] if candidate else []
            if len(paths) > 1:
                ways = " or ".join(f"--{path}" for path in paths)
                self.problem("could mean more than one setting", option, f"write {ways}")
            if paths:
                return paths[0], negated
        return None, False

    def is_option(self, path: str) -> bool:
        """Whether a path can be set on the command line."""
        return belongs(path, self.settings) and not path.endswith(f".{CLASS}")

    def value(self, option: str, path: str, text: str | None, rest: list[str]) -> Any:
        """The value of an option, from after its `=` or from the next word."""
        setting = self.settings.get(path)
        if text is None and setting is not None and setting.is_flag:
            return rest.pop(0) == "true" if rest and rest[0] in ("true", "false") else True
        if text is None:
            if not rest or rest[0].startswith("--"):
                dashed = f", or `{option}=VALUE` for one that begins with two dashes" if rest else ""
                self.problem("a value is missing", option, f"write `{option} VALUE`{dashed}")
                return _NOTHING
            text = rest.pop(0)
        return self.read(option, setting, text)

    def read(self, option: str, setting: Setting | None, text: str) -> Any:
        """The value that a word stands for; text stays as it is where only text can be meant."""
        if not text.isprintable() and not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            self.problem("the value is not valid UTF-8", option)
            return _NOTHING
        literal = setting is not None and (setting.is_text or (setting.is_component and text[:1] != "{"))
        if literal:
            return None if text == "null" else text
        try:
            return read_flow(text)
        except UserErrors as error:
            self.problem(f"{error.problems[0].message} in {in_words(text)}", option)
        return _NOTHING

    def negated(self, option: str, path: str, text: str | None) -> Any:
        """False for `--no-x`, where x is a flag."""
        setting = self.settings.get(path)
        if setting is not None and setting.is_flag and text is None:
            return False
        if text is not None:
            self.problem("takes no value", option)
        else:
            self.problem("only settings that are true or false have a `--no-` form", option, f"write `--{path} VALUE`")
        return _NOTHING

    def unknown(self, option: str) -> None:
        """Note an option that there is not."""
        name = option[2:]
        match = suggest(name.replace("-", "_"), self.settings, self.also)
        if name.rpartition(".")[2] == CLASS:
            match = name.rpartition(".")[0]
        hint = f"did you mean `{as_option(match)}`?" if match else "see --help for all options"
        if name == "task":
            hint = "the task is the first word: `deepdiva run TASK`"
        self.problem("there is no such option", option, hint)

    def problem(self, message: str, option: str, hint: str | None = None) -> None:
        """Note a mistake."""
        self.problems.append(Problem(message, option, hint))

    def values(self) -> dict[str, Any]:
        """All settings found, nested; a class goes in front of its arguments."""
        nested: dict[str, Any] = {}
        for path in sorted(self.found, key=lambda path: path.count(".")):
            value = self.found[path]
            has_arguments = any(other.startswith(f"{path}.") for other in self.found)
            if has_arguments and not isinstance(value, Mapping):
                if not isinstance(value, str):
                    self.problem(f"is {in_words(value)}, so it can have no arguments", self.options[path])
                    continue
                value = {CLASS: value}
            put(nested, path, dict(value) if isinstance(value, Mapping) else value)
        return nested

    def where(self, path: str) -> str:
        """The option that gave the value at a path."""
        while path and path not in self.options:
            path = path.rpartition(".")[0]
        return self.options.get(path, "command line")


def _without_no(name: str) -> str | None:
    """`x` for `no_x`, also behind a group: `logging.no_tensorboard`."""
    group, dot, leaf = name.rpartition(".")
    if leaf.startswith("no_"):
        return f"{group}{dot}{leaf.removeprefix('no_')}"
    return name.removeprefix("no_") if name.startswith("no_") else None


def shortest_option(path: str, settings: Mapping[str, Setting]) -> str:
    """The shortest option that means a setting: `--patience` for `training.patience`."""
    leaf = path.rpartition(".")[2]
    return as_option(leaf if full_paths(leaf, settings) == [path] else path)


def as_option(path: str) -> str:
    """A setting as it is written on the command line: `--batch-size`, but `--scheduler.T_max` for an argument."""
    group = path.rpartition(".")[0]
    return f"--{path.replace('_', '-') if group in ('', 'task', *GROUPS) else path}"
