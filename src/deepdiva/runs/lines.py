"""Logs that only grow: one JSON record a line, each behind its checksum, so that a torn end is told from damage."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from deepdiva.runs.reading import open_regular
from deepdiva.runs.storage import Storage, StorageError, canonical_json

_LONGEST = 1 << 24
"""Bytes of a line at most. A step has some hundred; a line without an end must not fill the memory."""


class LineLog:
    """A file that only grows: one JSON record a line, each behind its checksum, written in blocks by the clock.

    Args:
        path: The file; made by the first block, continued (a torn last line is cut off) when it is there.
        storage: Where changes go.
        flush_seconds: Records wait in memory at most until the first `append` after this time.
    """

    def __init__(self, path: Path, storage: Storage | None = None, *, flush_seconds: float = 3.0) -> None:
        self.path = path
        self._storage = storage or Storage()
        self._flush_seconds = flush_seconds
        self._flushed = time.monotonic()
        self._waiting: list[bytes] = []
        self._size = intact_size(path)

    def append(self, records: Iterable[Any], encode: Callable[[Any], str] = canonical_json) -> None:
        """Take a block of records; `encode` may be a quicker way to the same text as `canonical_json`."""
        crc32 = zlib.crc32
        texts = [encode(record).encode() for record in records]
        self._waiting += [b"%08x %b\n" % (crc32(text), text) for text in texts]
        if time.monotonic() - self._flushed > self._flush_seconds:
            self.flush()

    def flush(self) -> None:
        """Hand all waiting records to the operating system: they survive a kill of this process."""
        self._flushed = time.monotonic()
        if self._waiting:
            data = b"".join(self._waiting)
            self._storage.append(self.path, data, at=self._size)
            self._size += len(data)
            self._waiting = []

    def sync(self) -> int:
        """Flush and wait for the disk: all records so far survive a power cut. Gives their size, for `cut`."""
        self.flush()
        if self._size:
            self._storage.sync(self.path)
        return self._size


def read_lines(path: Path, *, size: int | None = None, within: Path | None = None) -> Iterator[dict[str, Any]]:
    """The records of a `LineLog`; none when there is no file.

    A torn end, as a kill leaves it, is passed over. A damaged line with intact ones behind it was not left by a kill:
    that is a `StorageError` which names it.

    Args:
        path: The file.
        size: Bytes that it must have, where a manifest lists them: then there is no torn end.
        within: The run folder, where it may be a stranger's.
    """
    count = 0
    for line in _intact_lines(path, within):
        count += len(line)
        yield _record(line[9:], path)
    if size is not None and count != size:
        raise StorageError(
            f"{path} is damaged: {count:,} bytes of whole records, and {size:,} were written",
            "it was changed after it was written, or the disk is failing: restore it from a copy",
        )


def intact_size(path: Path) -> int:
    """Number of bytes up to the torn end, if there is one, or of the whole file."""
    return sum(map(len, _intact_lines(path)))


def cut(path: Path, size: int, storage: Storage) -> None:
    """Leave the records that were there when the log was `size` bytes long; a torn end goes too."""
    records_around(path, size)
    if path.exists() and path.stat().st_size > size:
        storage.truncate(path, size)


def records_around(path: Path, size: int) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The last record of when the log was `size` bytes long, and the one after it; None where there is none.

    Raises:
        StorageError: It never was that long.
    """
    end, before, after = 0, None, None
    for line in _intact_lines(path):
        if end >= size:
            after = line
            break
        end += len(line)
        before = line
    if end != size:
        raise StorageError(
            f"{path} is not what was written: no record ends at byte {size}",
            "it was changed after the checkpoint; restore it from a copy",
        )
    return tuple(None if line is None else _record(line[9:], path) for line in (before, after))  # type: ignore[return-value]


def _intact_lines(path: Path, within: Path | None = None) -> Iterator[bytes]:
    try:
        opened = open_regular(path, within=within)
    except FileNotFoundError:
        return
    damaged = 0
    with opened as file:
        for number, line in enumerate(iter(lambda: file.readline(_LONGEST + 1), b""), start=1):
            if len(line) > _LONGEST:
                raise StorageError(f"{path}, line {number}: longer than {_LONGEST:,} bytes")
            if not _is_intact(line):
                damaged = damaged or number
            elif damaged:
                raise StorageError(
                    f"{path}, line {damaged}: the record does not fit its checksum, but lines after it are intact",
                    "the file was changed or the disk is failing: restore it from a copy",
                )
            else:
                yield line


def _record(text: bytes, path: Path) -> dict[str, Any]:
    """The record of a line; one that fits its checksum and is none was not written by us."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{path} was not written by DeepDIVA: {error}") from error
    if not isinstance(record, dict):
        raise StorageError(f"{path} was not written by DeepDIVA: a line holds no record")
    return record


def _is_intact(line: bytes) -> bool:
    return line[-1:] == b"\n" and line[:9] == b"%08x " % zlib.crc32(line[9:-1])
