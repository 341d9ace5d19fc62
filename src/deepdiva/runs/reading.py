"""Reads the files of a run folder as those of a stranger: regular, inside the folder, of bounded size and depth."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from deepdiva.runs.storage import StorageError

MiB = 1 << 20
GiB = 1 << 30

DEPTH = 200
"""Levels of lists and mappings in a JSON document. A checkpoint's, the deepest that are written, have about twenty."""

LARGEST = {
    "run.json": 16 * MiB,  # a few KiB; a traceback or a long list of changed files may make it some MiB
    "config.yaml": MiB,  # a few KiB; the parser takes seconds for each MiB
    "code/code.json": 64 * MiB,  # about 250 bytes a file, for at most some ten thousand files
    "code": 512 * MiB,  # the archive and the patches; 100 MiB of source are copied at most
    "environment": 16 * MiB,  # a thousand packages are 200 KiB
    "data": 4 * GiB,  # a hundred bytes a file or sample, for tens of millions of them
    "predictions": 8 * GiB,  # a hundred bytes a sample
    "figures": 256 * MiB,  # a picture
    "manifest.json": 256 * MiB,  # a hundred bytes a file
}
"""Bytes that a file of a run has at most, by its name or the folder that it is in: far more than any ever had."""

_LARGEST_OTHER = 64 * MiB
_NO_LINK = "a link of that kind is never followed: put the file itself there"
_ODD = "it is no file that DeepDIVA wrote; nothing was read"


def largest(name: str) -> int:
    """Bytes that the file `name` of a run (`code/code.json`) has at most."""
    return LARGEST.get(name) or LARGEST.get(name.partition("/")[0], _LARGEST_OTHER)


def open_regular(path: Path, *, within: Path | None = None, limit: int | None = None) -> BufferedReader:
    """A regular file, open for reading; never blocks, and never opens what reading would change.

    Args:
        path: The file.
        within: The folder that it may not lead out of, by whatever links; None follows no link at the end of `path`.
        limit: Bytes that it has at most; None for a log of any length, which is read in pieces.

    Raises:
        StorageError: It leads out of the folder, is too large, or is a pipe, socket, device or folder.
        OSError: It cannot be opened; `FileNotFoundError` where there is none.
    """
    place = path if within is None else inside(path, within)
    facts = place.stat(follow_symlinks=within is not None)
    if stat.S_ISLNK(facts.st_mode):
        raise StorageError(f"{path} is a link", _NO_LINK)
    _check_regular(path, facts.st_mode)
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        facts = os.fstat(descriptor)
        _check_regular(path, facts.st_mode)
        if limit is not None and facts.st_size > limit:
            raise StorageError(f"{path} has {facts.st_size:,} bytes, where {limit:,} are the most", _ODD)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, *, limit: int, within: Path | None = None) -> bytes:
    """The content of a regular file of at most `limit` bytes; for the rest see `open_regular`."""
    with open_regular(path, within=within, limit=limit) as file:
        data = file.read(limit + 1)
    if len(data) > limit:  # it grew, or the system does not know its size
        raise StorageError(f"{path} has more than {limit:,} bytes", _ODD)
    return data


def inside(path: Path, folder: Path) -> Path:
    """Where `path` leads to, all links followed; refused when that is not inside `folder`."""
    try:
        is_inside = leads_inside(path, folder)
    except ValueError as error:  # a NUL
        raise StorageError(f"{str(path)!r} is no path: {error}") from error
    if not is_inside:
        raise StorageError(f"{path} leads out of the run folder", _NO_LINK)
    return Path(os.path.realpath(path))


def leads_inside(path: Path, folder: Path) -> bool:
    """Whether `path` is in `folder`, all links followed."""
    place, root = os.path.realpath(path), os.path.realpath(folder)
    return place == root or place.startswith(f"{root}{os.sep}")


def parse_json(data: bytes, path: Path) -> Any:
    """The value of a JSON text of at most `DEPTH` levels in which no key stands twice; `path` is for the message."""
    try:
        value = json.loads(data.decode(), object_pairs_hook=_unique)
    except RecursionError:
        raise StorageError(f"{path} is damaged: it is nested too deeply", _ODD) from None
    except ValueError as error:
        raise StorageError(f"{path} is damaged: {error}", "restore it from a copy: it is never half-written") from error
    if data.count(b"[") + data.count(b"{") > DEPTH and _is_deeper(value, DEPTH):
        raise StorageError(f"{path} is damaged: it is nested too deeply", _ODD)
    return value


def check_folder(folder: Path) -> None:
    """Refuse a folder with a link in it that leads out, or with a pipe, a socket or a device.

    To be asked before anything is written into a run folder, or another program is let into it.
    """
    for path in special_files(folder):
        if not path.is_symlink():
            raise StorageError(f"{path} is no regular file", _ODD)
        inside(path, folder)


def special_files(folder: Path) -> Iterator[Path]:
    """All that is neither a folder nor a regular file below `folder`; no link is followed."""
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            entries = list(os.scandir(place))
        except PermissionError as error:
            raise StorageError(f"{place} cannot be listed: you may not read it", "make it readable first") from error
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            elif not entry.is_file(follow_symlinks=False):
                yield Path(entry.path)


def regular_files(folder: Path) -> Iterator[str]:
    """Names (`code/code.json`) of all regular files below `folder`, sorted; those that begin with a dot are no part."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        above = Path(root).relative_to(folder).as_posix()
        names = [name for name in files if not name.startswith(".") and _is_regular(Path(root, name))]
        found += names if above == "." else [f"{above}/{name}" for name in names]
    yield from sorted(found, key=os.fsencode)


def _is_regular(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _check_regular(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(21, os.strerror(21), str(path))
    if not stat.S_ISREG(mode):
        raise StorageError(f"{path} is no regular file", _ODD)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice")
    return found


def _is_deeper(value: Any, depth: int) -> bool:
    """Whether a value has more levels of lists and mappings; without recursion, which they might exhaust."""
    level = [value]
    for _ in range(depth):
        level = [
            item
            for container in level
            if isinstance(container, dict | list)
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True
