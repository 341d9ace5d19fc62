"""The copy of the source in a run folder, unpacked: proved file by file, and never out of its folder."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from deepdiva.errors import UserError
from deepdiva.runs.reading import MiB, largest, leads_inside, open_regular, parse_json, read_bytes
from deepdiva.runs.storage import StorageError

RECORD = "code.json"
ARCHIVE = "source.tar.gz"
LARGEST = 256 * MiB
"""Unpacked bytes at most: a copy holds 100 MiB of source, an archive that was made to fill a disk any number."""

_MODES = {"644": 0o644, "755": 0o755}
_HINT = "it was not packed by DeepDIVA, or was changed since"


class _Bounded:
    """An unpacked stream that may not go on for ever."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._stream = stream
        self._left = LARGEST
        self._path = path

    def read(self, size: int) -> bytes:
        """The next bytes."""
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise StorageError(f"{self._path} holds more than {LARGEST:,} bytes when it is unpacked", _HINT)
        return data


def read_code(code: Path) -> dict[str, Any]:
    """The record of a copy (`code.json`), whose names stay in their folder and whose entries are what we write.

    Raises:
        UserError: There is none.
        StorageError: It is damaged, or a name leads out of the folder.
    """
    path = code / RECORD
    try:
        record = parse_json(read_bytes(path, limit=largest("code/code.json"), within=code), path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    files = record.get("files") if isinstance(record, dict) else None
    if not isinstance(files, dict) or not all(_is_entry(entry) for entry in files.values()):
        raise StorageError(f"{path} was not written by DeepDIVA")
    for name in files:
        if "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
            raise StorageError(f"the copy of the code holds a path that leads out of its folder: {name!r}", _HINT)
    return cast("dict[str, Any]", record)


def members(code: Path, files: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file of the archive in its order, proved; a link has none.

    Args:
        code: The folder `code/` of a run.
        files: What `read_code` says of them.

    Raises:
        StorageError: The archive is damaged, or does not hold just these.
    """
    path = code / ARCHIVE
    left = dict(files)
    try:
        with (
            open_regular(path, within=code, limit=largest("code/source.tar.gz")) as packed,
            gzip.GzipFile(fileobj=packed) as unpacked,
        ):
            stream = cast("IO[bytes]", _Bounded(cast("IO[bytes]", unpacked), path))
            archive = tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
            for member in archive:
                entry = left.pop(member.name, None)
                if entry is None:
                    raise StorageError(f"{path} does not hold the files that {RECORD} lists: {member.name!r}", _HINT)
                yield member.name, _proved(archive, member, entry)
            while stream.read(MiB):  # to the end, where the checksum is
                pass
    except (tarfile.TarError, EOFError, zlib.error, ValueError, OSError) as error:
        raise StorageError(f"{path} is damaged: {error}", "restore it from a copy") from error
    if left:
        raise StorageError(f"{path} does not hold the files that {RECORD} lists: {min(left)!r}", _HINT)


def unpack(code: Path, destination: Path, *, follow: bool = False) -> list[str]:
    """Unpack a copy into the empty folder `destination`; the names.

    Args:
        code: The folder `code/` of a run.
        destination: Made when it is not there.
        follow: Whether links that lead out of `destination` are made, too: only for code that is trusted.

    Raises:
        UserError: The folder is not empty, or the copy is damaged or leads out of it.
    """
    files = read_code(code)["files"]
    destination.mkdir(parents=True, exist_ok=True)
    if any(destination.iterdir()):
        raise UserError(f"{destination} is not empty", "restore into a new folder")
    for name, data in members(code, files):
        if "link" not in files[name]:
            _write(destination / name, data, _MODES[files[name]["mode"]])
    # Links last: a file must never be written through one.
    links = {name: str(entry["link"]) for name, entry in files.items() if "link" in entry}
    for name, target in links.items():
        _link(destination / name, target)
    outside = [] if follow else [name for name in links if not leads_inside(destination / name, destination)]
    if outside:
        for name in links:
            (destination / name).unlink()
        raise StorageError(f"the copy of the code holds a link that leads out of its folder: {outside[0]!r}", _HINT)
    return sorted(files)


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    if "link" in entry:
        return isinstance(entry["link"], str) and bool(entry["link"]) and "\0" not in entry["link"]
    is_size = type(entry.get("size")) is int and entry["size"] >= 0
    return is_size and isinstance(entry.get("sha256"), str) and entry.get("mode") in _MODES


def _proved(archive: tarfile.TarFile, member: tarfile.TarInfo, entry: Mapping[str, Any]) -> bytes:
    if "link" in entry:
        if member.issym() and member.linkname == entry["link"]:
            return b""
        raise StorageError(f"the copy of the code is damaged: {member.name} is not the link that it should be", _HINT)
    plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
    handle = archive.extractfile(member) if plain and member.size == entry["size"] else None
    data = b"" if handle is None else handle.read()
    if handle is None or hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise StorageError(
            f"the copy of the code is damaged: {member.name} does not have its recorded SHA-256",
            "restore it from a copy",
        )
    return data


def _write(path: Path, data: bytes, mode: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(data)
    except (FileExistsError, NotADirectoryError) as error:
        raise StorageError(f"the copy of the code holds two files that cannot both be {path}", _HINT) from error
    path.chmod(mode)


def _link(path: Path, target: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    except (FileExistsError, NotADirectoryError) as error:
        raise StorageError(f"the copy of the code holds two files that cannot both be {path}", _HINT) from error
