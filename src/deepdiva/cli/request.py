"""The words of a command about a task, sorted: the command's own options, the files, and the task's settings."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deepdiva.errors import Problem, UserError

if TYPE_CHECKING:
    from deepdiva.config import Layer

CONFIG = "--config FILE"
CONFIG_HELP = "settings from a YAML file; may stand several times, later files win, options win over all"


@dataclass
class Request:
    """What was asked for.

    Args:
        task: The name of the task, where one was given.
        files: The files of `--config`, in order.
        flags: The command's own options that were given: `--json`.
        values: Those of them that take a value, with it.
        words: All else: settings of the task.
    """

    task: str | None = None
    files: list[Path] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    words: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)

    def layers(self) -> list[Layer]:
        """The settings in the files; a file that cannot be read is a problem among those that `resolve` reports."""
        from deepdiva.config import Layer, read_file

        layers = []
        for path in self.files:
            try:
                _prove(path)
                layers.append(read_file(path))
            except UserError as error:
                layers.append(Layer({}, lambda _: "--config", [Problem(error.message, "--config", error.hint)]))
        return layers


def _prove(path: Path) -> None:
    """Reads the configuration of a run with care: it may be a stranger's, or damaged."""
    from deepdiva.runs.folder import RunFolder

    if path.name == "config.yaml" and os.path.lexists(path.parent / "run.json"):
        RunFolder.open(path.parent).content(path.name)


def read_request(words: Sequence[str], options: Collection[str]) -> Request:
    """The request in the words after a command's name.

    Args:
        words: The words.
        options: The command's own options, as its help shows them: `--json`, or `--kills N` where it takes a value.
    """
    rest = list(words)
    names = {option.partition(" ")[0]: " " in option for option in options if option != CONFIG}
    request = Request(task=rest.pop(0) if rest and not rest[0].startswith("-") else None)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word in ("-h", "--help"):
            request.flags.add("--help")
        elif name == "--config" or names.get(name, False):
            text = value if equals else _value_of(name, rest)
            if name == "--config":
                request.files.append(Path(text))
            else:
                request.values[name] = text
        elif word in names:
            request.flags.add(word)
        else:
            request.words.append(word)
    return request


def _value_of(name: str, rest: list[str]) -> str:
    """Takes the value of an option from the words that follow it."""
    if rest and not rest[0].startswith("--"):
        return rest.pop(0)
    if name == "--config":
        raise UserError("--config: a file is missing", "write `--config my.yaml`")
    raise UserError(f"{name}: a value is missing")
