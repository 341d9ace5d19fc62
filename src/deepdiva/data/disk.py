"""Writing of whole files and folders: either all of it stands there in the end, or nothing."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deepdiva.errors import UserError
from deepdiva.runs.storage import System

_HINTS = {
    errno.ENOSPC: "free some space on that disk, or choose another with --to",
    errno.EDQUOT: "your quota on that disk is used up: free some space, or choose another disk with --to",
    errno.EACCES: "you may not write there: choose another folder with --to",
    errno.EPERM: "you may not write there: choose another folder with --to",
    errno.EROFS: "that disk is read-only: choose another folder with --to",
}
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns the system's refusal to write `path` into an error that says what to do."""
    try:
        yield
    except OSError as error:
        raise refusal(path, error) from error


def refusal(path: Path, error: OSError) -> UserError:
    """What to tell of a write that the system refused."""
    reason = (error.strerror or str(error)).lower()
    return UserError(f"cannot write {path}: {reason}", _HINTS.get(error.errno or 0))


@contextmanager
def scratch(path: Path, system: System) -> Iterator[Path]:
    """A new folder to fill, which is gone when the block ends, unless the block gave it another name.

    So what is made in it appears at its place at once as a whole, or not at all. A rest of a killed process is
    removed first.

    Raises:
        UserError: The system refuses to make it.
    """
    with explained(path):
        if path.exists():
            system.remove_tree(path)
        system.make_directory(path)
    try:
        yield path
    finally:
        if path.exists():
            with suppress(OSError):
                system.remove_tree(path)


def write_whole(system: System, path: Path, content: bytes | memoryview) -> None:
    """Writes a new file inside a folder that is itself only `scratch`.

    Raises:
        OSError: The system refuses; also where the file is there already.
    """
    descriptor = system.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        write_all(system, descriptor, content)
    finally:
        system.close(descriptor)


def write_all(system: System, descriptor: int, content: bytes | memoryview) -> None:
    """Writes all of `content` to an open file."""
    rest = memoryview(content)
    while rest:
        rest = rest[system.write(descriptor, rest) :]


def make_folders(path: Path, system: System) -> list[Path]:
    """Makes `path` and what is missing above it; gives what was made, outermost first.

    Raises:
        UserError: The system refuses, or a file is in the way.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    made: list[Path] = []
    with explained(path):
        try:
            for folder in reversed(missing):
                with suppress(FileExistsError):  # another process was quicker
                    system.make_directory(folder)
                    made.append(folder)
            if not path.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "a file has that name", str(path))
        except OSError:
            remove_empty(made)
            raise
    return made


def remove_empty(folders: list[Path]) -> None:
    """Removes folders that were made, as far as nothing is in them."""
    for folder in reversed(folders):
        with suppress(OSError):
            folder.rmdir()


def check_room(folder: Path, needed: int, what: str) -> None:
    """Refuses what would not fit on the disk.

    Raises:
        UserError: Fewer than `needed` bytes are free where `folder` is.
    """
    with suppress(OSError):
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise UserError(
                f"{what} needs {in_units(needed)} in {folder}, where {in_units(free)} are free",
                _HINTS[errno.ENOSPC],
            )


def in_units(size: float) -> str:
    """A number of bytes as people say it: `9.9 MB`, `2.6 GB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if round(size, 1) < 1000 or unit == "GB":  # 999,999 bytes are 1.0 MB, not 1000.0 kB
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError
