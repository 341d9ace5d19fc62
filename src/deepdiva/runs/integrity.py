"""`manifest.json`: size and SHA-256 of the files of a run, so that whatever changes them later is recognised.

What the manifest lists does not change as long as it is listed: a file is written before it is listed, and taken off
the list before it is written again. So a kill or a power cut at any time leaves a manifest that is true. It is a
proof and not a gate: a run without one reads as well. `run.json`, which tells how the run stands, has a check of its
own and is never listed; a checkpoint's files are listed as its own manifest has them, without being read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from deepdiva.runs import record
from deepdiva.runs.reading import LARGEST, check_folder, largest, open_regular, parse_json, read_bytes, regular_files
from deepdiva.runs.storage import Storage, StorageError, canonical_json

NAME = "manifest.json"
SCHEMA = 1
SETTLED = ("config.yaml", "reproduce.sh", "code", "environment", "data")
"""What is written before the first step and then stays, also when the run is resumed."""
_UNSURE = ("figures", "tensorboard", "log.txt")
_HINT = "it was changed after it was written, or the disk is failing: restore it from a copy"


class Entry(NamedTuple):
    """One file: its size in bytes and the SHA-256 of its content."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What the files of a run, or of a checkpoint, must be.

    Args:
        files: Size and SHA-256 by name (`code/code.json`).
        complete: Whether it was taken when the run ended, over all files.
        run: The id of the run.
    """

    files: Mapping[str, Entry] = field(default_factory=dict)
    complete: bool = False
    run: str = ""


def encode(manifest: Manifest) -> bytes:
    """The bytes of a run's `manifest.json`."""
    files = {name: {"sha256": entry.sha256, "size": entry.size} for name, entry in manifest.files.items()}
    body = {"schema": SCHEMA, "run": manifest.run, "complete": manifest.complete, "files": files}
    return canonical_json({**body, "check": _check(body)}).encode()


def read_manifest(path: Path, *, within: Path) -> dict[str, Any]:
    """The content of a `manifest.json`, of a run or of a checkpoint, whose every byte fits its check.

    Raises:
        FileNotFoundError: There is none.
        StorageError: It is damaged.
    """
    data = read_bytes(path, limit=LARGEST[NAME], within=within)
    content = parse_json(data, path)
    try:
        body = {name: value for name, value in content.items() if name != "check"}
        intact = content["check"] == _check(body) and data == canonical_json(content).encode()
        files = {name: Entry(int(entry["size"]), str(entry["sha256"])) for name, entry in content["files"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{path} was not written by DeepDIVA: {error!r}") from error
    if not intact or content.get("schema") != SCHEMA:
        raise StorageError(f"{path} is damaged: it does not fit its own check", _HINT)
    return {**content, "files": files}


def manifest_of(folder: Path) -> Manifest | None:
    """The manifest of a run folder; None where there is none.

    Raises:
        StorageError: It is damaged.
    """
    try:
        content = read_manifest(folder / NAME, within=folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Manifest(content["files"], content.get("complete") is True, str(content.get("run")))


def take(folder: Path, *, run: str, known: Mapping[str, Entry], only: Iterable[str] = (), complete: bool) -> Manifest:
    """The manifest of a run folder as it is now.

    Args:
        folder: The run folder.
        run: The id of the run.
        known: What an earlier manifest says of files that were not written since: they are not read again.
        only: Names of files, or of folders, to be listed; everything where it is empty.
        complete: Whether this is the end of the run.
    """
    chosen = tuple(only)
    names = [name for name in regular_files(folder) if name not in (NAME, record.NAME)]
    names = [name for name in names if not chosen or name in chosen or name.partition("/")[0] in chosen]
    listed = {**_of_checkpoints(folder, names), **known}
    files = {name: listed.get(name) or measure(folder / name, folder) for name in names}
    return Manifest({**known, **files}, complete, run)  # what is known and gone is missed


def write(folder: Path, manifest: Manifest, storage: Storage) -> None:
    """Replace a run's manifest, in one step; what it lists must be on the disk already."""
    storage.write(folder / NAME, encode(manifest))


def without(manifest: Manifest, name: str, *, unless: bytes | None = None) -> Manifest:
    """The manifest without a file that is about to be written; the same where it need not change for `unless`."""
    entry = manifest.files.get(name)
    if entry is None or (unless is not None and entry == Entry(len(unless), hashlib.sha256(unless).hexdigest())):
        return manifest
    rest = {other: entry for other, entry in manifest.files.items() if other != name}
    return Manifest(rest, complete=False, run=manifest.run)


def keep_settled(folder: Path, storage: Storage) -> Manifest:
    """Take all off a run's manifest that a resumed run changes, and give what is left.

    Raises:
        StorageError: The manifest is damaged.
    """
    manifest = manifest_of(folder)
    if manifest is None:
        return Manifest()
    kept = {name: entry for name, entry in manifest.files.items() if name.partition("/")[0] in SETTLED}
    settled = Manifest(kept, complete=False, run=manifest.run)
    write(folder, settled, storage)
    return settled


class Written(Protocol):
    """A run folder as `RunFolder` gives it."""

    @property
    def path(self) -> Path:
        """The folder."""

    @property
    def record(self) -> Mapping[str, Any]:
        """What `run.json` says."""


def check_resumable(run: Written) -> None:
    """Refuse a run folder that must not be written into: links lead out of it, or its record lacks what a run needs.

    Raises:
        StorageError: It says which file, or which key.
    """
    check_folder(run.path)
    needed = ("id", "experiment", "digests", "results", "test_reads", "determinism")
    missing = [name for name in needed if run.record.get(name) is None]
    if missing:
        raise StorageError(f"{run.path / record.NAME} was not written by DeepDIVA: '{missing[0]}' is missing")


def sync_unsure(folder: Path, storage: Storage) -> None:
    """Wait until the disk holds what was written without waiting: pictures, TensorBoard's mirror, the log."""
    names = [name for name in regular_files(folder) if name.partition("/")[0] in _UNSURE]
    storage.sync_files([folder / name for name in names])


def measure(path: Path, within: Path) -> Entry:
    """Size and SHA-256 of a file, read in pieces."""
    with open_regular(path, within=within) as file:
        return _measured(file)


def open_proved(folder: Path, name: str) -> BufferedReader:
    """A file of a run, such as `code/code.json`, proved where the run's manifest lists it.

    Raises:
        StorageError: It is not what was written, is too large, or leads out of the run folder.
        OSError: It cannot be opened; `FileNotFoundError` where there is none.
    """
    file = open_regular(folder / name, within=folder, limit=largest(name))
    try:
        _prove(folder, name, file)
    except BaseException:
        file.close()
        raise
    return file


def damage(path: Path, expected: Entry, found: Entry) -> StorageError:
    """What to say of a file that is not what the manifest lists."""
    if found.size != expected.size:
        reason = f"it has {found.size:,} bytes, and {expected.size:,} were written"
    else:
        reason = f"it does not have the SHA-256 that {NAME} lists"
    return StorageError(f"{path} is damaged: {reason}", _HINT)


def expected_size(folder: Path, name: str) -> int | None:
    """Bytes that a file must have; None where no intact manifest lists it."""
    expected = _expected(folder, name)
    return None if expected is None else expected.size


def _prove(folder: Path, name: str, file: BufferedReader) -> None:
    expected = _expected(folder, name)
    if expected is None:
        return
    found = _measured(file)
    file.seek(0)
    # The run may have been resumed between the two readings: then the manifest has changed before the file.
    if expected != found and _expected(folder, name) == expected:
        raise damage(folder / name, expected, found)


def _expected(folder: Path, name: str) -> Entry | None:
    try:
        manifest = manifest_of(folder)
    except StorageError:  # a damaged proof proves nothing, neither for nor against; `runs verify` tells
        return None
    return None if manifest is None else manifest.files.get(name)


def _of_checkpoints(folder: Path, names: Iterable[str]) -> dict[str, Entry]:
    """What the manifests of the checkpoints among `names` say of their files."""
    found: dict[str, Entry] = {}
    for name in names:
        above, _, base = name.rpartition("/")
        if above and base == NAME:
            try:
                files = read_manifest(folder / name, within=folder)["files"]
            except StorageError:
                continue  # its files are read; `runs verify` says that this one is damaged
            found |= {f"{above}/{file}": entry for file, entry in files.items()}
    return found


def _measured(file: BufferedReader) -> Entry:
    digest = hashlib.file_digest(file, "sha256")
    return Entry(file.tell(), digest.hexdigest())


def _check(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(body).encode()).hexdigest()
