"""Unpacking of archives that nobody need trust: nothing leaves the folder, and nothing grows without limit."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from deepdiva.data.disk import explained, write_all
from deepdiva.data.files import printable
from deepdiva.errors import UserError
from deepdiva.runs.storage import System

BLOCK = 1 << 20
MOST_FILES = 10_000


class _Refused(Exception):
    """Why an archive is not unpacked."""


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Limited:
    """A stream that ends with an error where it gives more than it may."""

    def __init__(self, stream: _Stream, most: int) -> None:
        self._stream = stream
        self._most = self._left = most

    def read(self, size: int) -> bytes:
        """At most `size` bytes; the limit is checked before anything is held in memory."""
        if size > self._left + BLOCK:
            raise self._too_much()
        content = self._stream.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise self._too_much()
        return content

    def _too_much(self) -> _Refused:
        return _Refused(f"holds more than the {self._most:,} bytes that it may")


def unpack(
    archive: Path, folder: Path, *, most_bytes: int, most_files: int = MOST_FILES, system: System | None = None
) -> list[str]:
    """Unpacks a `.tar.gz` into `folder`, which is empty, and gives the names of its files.

    Only plain files and folders are accepted, with names that stay inside. Links, devices, absolute names, `..` and
    names that come twice are refused, since no data set needs them. What was written before an error stays in
    `folder`, which is why it should be a `disk.scratch`.

    Args:
        archive: The archive.
        folder: Where to put what it holds.
        most_bytes: What it may hold in all, headers included.
        most_files: How many entries it may have.
        system: The calls that write.

    Raises:
        UserError: The archive is truncated, damaged or refused, or the disk is full.
    """
    system = system or System()
    names: list[str] = []
    with _explained(archive), gzip.open(archive) as stream:
        limited = _Limited(stream, most_bytes)
        with tarfile.open(fileobj=limited, mode="r|") as entries:  # type: ignore[call-overload]
            for place, entry in enumerate(entries):
                if place >= most_files:
                    raise _Refused(f"has more than {most_files:,} entries")
                path = folder / _checked(entry)
                if entry.isdir():
                    _make(path, folder, system)
                    continue
                _make(path.parent, folder, system)
                _write(entries.extractfile(entry), path, entry.size, system)
                names.append(path.relative_to(folder).as_posix())
        while limited.read(BLOCK):
            pass  # the checksum of the whole stands at the very end
    if not names:
        raise UserError(f"{archive} holds no files")
    return names


def gunzip(content: bytes, where: str, *, most_bytes: int) -> bytes:
    """The content of a `.gz`, given as bytes.

    Raises:
        UserError: It is truncated, damaged, or larger than `most_bytes`; the message calls it `where`.
    """
    with _explained(where), gzip.open(io.BytesIO(content)) as stream:
        limited = _Limited(stream, most_bytes)
        return b"".join(iter(lambda: limited.read(BLOCK), b""))


def _checked(entry: tarfile.TarInfo) -> str:
    """The name of an entry as a path below the folder."""
    name = printable(entry.name)
    path = PurePosixPath(entry.name)
    if path.is_absolute() or ".." in path.parts or "\\" in entry.name or "\0" in entry.name:
        raise _Refused(f"has an entry that leads out of the folder: {name}")
    if entry.issym() or entry.islnk():
        raise _Refused(f"has a link: {name}")
    if not (entry.isreg() or entry.isdir()):
        raise _Refused(f"has an entry that is neither a file nor a folder: {name}")
    if not path.parts and not entry.isdir():
        raise _Refused("has an entry without a name")
    return path.as_posix()


def _make(path: Path, folder: Path, system: System) -> None:
    for parent in [*reversed(path.relative_to(folder).parents), path.relative_to(folder)]:
        made = folder / parent
        if made.is_dir():
            continue
        if made.exists():
            raise _Refused(f"has a folder in the place of a file: {printable(parent.as_posix())}")
        with explained(made):
            system.make_directory(made)


def _write(stream: IO[bytes] | None, path: Path, size: int, system: System) -> None:
    if stream is None or path.exists():
        raise _Refused(f"has two entries of one name: {printable(path.name)}")
    with explained(path):
        descriptor = system.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        while size > 0:
            content = stream.read(min(BLOCK, size))
            if not content:
                raise EOFError
            size -= len(content)
            with explained(path):
                write_all(system, descriptor, content)
    finally:
        system.close(descriptor)


@contextmanager
def _explained(archive: Path | str) -> Iterator[None]:
    try:
        yield
    except _Refused as error:
        raise UserError(f"{archive} {error}", "it is not unpacked, since that would not be safe") from error
    except EOFError as error:
        raise UserError(f"{archive} is truncated", "remove it, and download it again") from error
    except (tarfile.TarError, zlib.error, gzip.BadGzipFile) as error:
        ended = "unexpected end" in str(error)
        state = "is truncated" if ended else f"is damaged: {error}"
        raise UserError(f"{archive} {state}", "remove it, and download it again") from error
    except OSError as error:
        raise UserError(f"{archive} cannot be read: {error.strerror or error}") from error
