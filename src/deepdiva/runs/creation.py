"""The place of a run: new and never in use before, taken up by one process, gone when the run does not begin."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from deepdiva.errors import UserError
from deepdiva.runs.record import NAME
from deepdiva.runs.storage import Storage

_EXPERIMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_IGNORE = ".gitignore"


def check_experiment(name: str) -> None:
    """Refuse a name that cannot be one folder everywhere."""
    if not _EXPERIMENT.fullmatch(name):
        hint = "use letters, digits, '-', '_' and '.', beginning with a letter or digit"
        raise UserError(f"'{name}' cannot name an experiment", hint)


def make_folder(runs_dir: Path, experiment: str, storage: Storage, made: list[Path]) -> Path:
    """A new run folder; `made` collects all folders that were not there before."""
    made += storage.make_directory(runs_dir)
    if not any(runs_dir.iterdir()):  # never into a folder of the user's that holds something else
        storage.write(runs_dir / _IGNORE, b"*\n")
    made += storage.make_directory(runs_dir / experiment)
    while True:
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        try:
            made += storage.make_directory(runs_dir / experiment / name, exist_ok=False)
        except FileExistsError:  # the same second and the same six digits: draw again
            continue
        return runs_dir / experiment / name


def take_away(made: Sequence[Path], storage: Storage) -> None:
    """Remove a run folder that did not begin, and the folders above it that were made for it and hold nothing else."""
    for folder in reversed(made):
        if (folder / NAME).exists():
            storage.remove_tree(folder)
            continue
        if {path.name for path in folder.iterdir()} == {_IGNORE}:
            storage.remove(folder / _IGNORE)
        storage.remove_empty(folder)


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Let one process at a time into a run folder, where the file system can do that; others wait."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
