"""The words of a command about a task, sorted: the command's own options, the files, and the task's settings."""

from __future__ import annotations

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
        words: All else: settings of the task.
    """

    task: str | None = None
    files: list[Path] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    words: list[str] = field(default_factory=list)

    def layers(self) -> list[Layer]:
        """The settings in the files; a file that cannot be read is a problem among those that `resolve` reports."""
        from deepdiva.config import Layer, read_file

        layers = []
        for path in self.files:
            try:
                layers.append(read_file(path))
            except UserError as error:
                layers.append(Layer({}, lambda _: "--config", [Problem(error.message, "--config", error.hint)]))
        return layers


def read_request(words: Sequence[str], flags: Collection[str]) -> Request:
    """The request in the words after a command's name; `flags` are its own options that take no value."""
    rest = list(words)
    request = Request(task=rest.pop(0) if rest and not rest[0].startswith("-") else None)
    while rest:
        word = rest.pop(0)
        if word in ("-h", "--help"):
            request.flags.add("--help")
        elif word in flags:
            request.flags.add(word)
        elif word == "--config":
            if not rest or rest[0].startswith("--"):
                raise UserError("--config: a file is missing", "write `--config my.yaml`")
            request.files.append(Path(rest.pop(0)))
        elif word.startswith("--config="):
            request.files.append(Path(word.partition("=")[2]))
        else:
            request.words.append(word)
    return request
