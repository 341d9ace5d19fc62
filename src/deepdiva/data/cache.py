"""Decoded images kept on disk, so that later runs need not decode again: found, mapped, checked, and evicted.

Each entry is a folder `$XDG_CACHE_HOME/deepdiva/arrays/<key>/` with `pixels` (the images, one after the other, uint8),
`checksums` (SHA-256 of every MiB of it) and `about.json`. It is made in a folder beside it and renamed when it is
whole, so there is never half an entry. Whoever has one open holds a shared lock on its file `lock`, whose time is that
of the last use; only an entry that nobody holds is removed.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import mmap
import os
import shutil
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepdiva.data.blocks import boot, check_blocks
from deepdiva.data.manifest import cache_directory
from deepdiva.runs.settings import parse_size, read_settings

if TYPE_CHECKING:
    from deepdiva.data.decode import Pixels

SCHEMA = 1
BUILDING = ".building-"
GONE = ".gone-"
LOCK = ".lock-"
YOUNG_SECONDS = 60.0
DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class About:
    """What an entry holds.

    Args:
        source: The data set, as it was called when the entry was made.
        root: Its footprint.
        shape: (N, C, H, W).
        decoding: How its files were decoded, and by what.
        checksums: SHA-256 of the list of checksums.
    """

    source: str
    root: str
    shape: tuple[int, ...]
    decoding: str
    checksums: str
    schema: int = SCHEMA

    @property
    def size(self) -> int:
        """Bytes of pixels."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Entry:
    """An entry as it lies on disk.

    Args:
        path: Its folder.
        about: What it holds; None where that cannot be read.
        size: Bytes that its files take.
        used: When it was last opened, in seconds since 1970.
        in_use: Whether a process has it open.
    """

    path: Path
    about: About | None
    size: int
    used: float
    in_use: bool

    @property
    def key(self) -> str:
        """Its name."""
        return self.path.name


def directory() -> Path:
    """Where the entries are."""
    return cache_directory() / "arrays"


def limit() -> int:
    """How many bytes all entries may take together, by the settings of the user or the project."""
    return parse_size(read_settings(Path.cwd()).cache_limit) or 0


def open_entry(key: str) -> tuple[About, Pixels] | None:
    """The images of an entry, (N, C, H, W), mapped from disk; None where there is no whole one.

    The file is opened for reading only, and the map is private: what a program writes to it never reaches the disk.
    Checked are the file's size, and its content: every byte the first time after a restart of the machine and where
    the file's times are not those of then; otherwise a sample of eight blocks, other ones each time, which cost a few
    milliseconds whatever the size. An entry that fails is removed.
    """
    path = directory() / key
    lock = _acquire(path, exclusive=False)
    if lock is None:
        return None
    try:
        about = _read_about(path)
        images = _map(path, about, lock) if about is not None else None
    except BaseException:
        os.close(lock)
        raise
    if about is None or images is None:
        os.close(lock)
        _discard(path)
        return None
    with suppress(OSError):
        os.utime(path / "lock")
    return about, images


def make_room(needed: int) -> bool:
    """Whether `needed` more bytes may be kept; removes the entries that were used longest ago, as far as it helps."""
    allowed = limit()
    directory().mkdir(parents=True, exist_ok=True)
    if needed > allowed or needed > shutil.disk_usage(directory()).free + sum(entry.size for entry in entries()):
        return False
    kept = sorted(entries(), key=lambda entry: entry.used)
    total = sum(entry.size for entry in kept)
    for entry in kept:
        if total + needed <= allowed and needed < shutil.disk_usage(directory()).free:
            break
        if remove(entry):
            total -= entry.size
    return total + needed <= allowed and needed < shutil.disk_usage(directory()).free


def entries() -> list[Entry]:
    """All entries, the one used last first."""
    found = []
    with suppress(OSError), os.scandir(directory()) as listed:
        for item in listed:
            if not item.name.startswith("."):
                with suppress(OSError):
                    found.append(_entry(Path(item.path)))
    return sorted(found, key=lambda entry: entry.used, reverse=True)


def remove(entry: Entry) -> bool:
    """Removes an entry, unless a process has it open."""
    lock = _acquire(entry.path, exclusive=True)
    if lock is None:
        if not (entry.path / "lock").exists():
            return _discard(entry.path)
        return False
    try:
        return _discard(entry.path)
    finally:
        os.close(lock)


def clear(*, older_than: float | None = None) -> tuple[list[Entry], list[Entry]]:
    """Removes entries, and what killed processes left; gives those removed, and those that are in use.

    Args:
        older_than: Seconds since its last use that an entry is kept at least; None removes all.
    """
    remove_leftovers()
    oldest = math.inf if older_than is None else time.time() - older_than
    chosen = [entry for entry in entries() if entry.used <= oldest]
    removed = [entry for entry in chosen if remove(entry)]
    return removed, [entry for entry in chosen if entry not in removed]


def _entry(path: Path) -> Entry:
    with suppress(OSError):
        lock = _acquire(path, exclusive=True)
        if lock is not None:
            os.close(lock)
        size = sum(file.stat().st_size for file in path.iterdir())
        return Entry(path, _read_about(path), size, (path / "lock").stat().st_mtime, lock is None)
    return Entry(path, None, 0, path.stat().st_mtime, in_use=False)


def _acquire(path: Path, *, exclusive: bool) -> int | None:
    """A lock on an entry; None where it is gone or, for an exclusive one, in use.

    A shared lock is waited for: those who hold an exclusive one look or remove, and are done in a moment.
    """
    try:
        handle = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            os.close(handle)
            return None
        # A file system without locks: nothing is removed from under a map anyway, it only loses its name.
    with suppress(OSError):
        # It may have been removed between the two calls; then the lock is on nothing.
        if (path / "lock").stat().st_ino == os.fstat(handle).st_ino:
            return handle
    os.close(handle)
    return None


def _read_about(path: Path) -> About | None:
    try:
        content = json.loads((path / "about.json").read_text(encoding="utf-8"))
        about = About(**{**content, "shape": tuple(content["shape"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return about if about.schema == SCHEMA and len(about.shape) == 4 else None


def _map(path: Path, about: About, lock: int) -> Pixels | None:
    """The images of a checked entry; the lock is let go with the last of them."""
    handle = os.open(path / "pixels", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(handle).st_size != about.size or about.size == 0:
            return None
        # Without a reserve: sets larger than memory could otherwise not be mapped so.
        flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", 0x4000 if os.uname().sysname == "Linux" else 0)
        pixels = mmap.mmap(handle, about.size, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    finally:
        os.close(handle)
    everything = not _is_state_known(path)
    if not check_blocks(pixels, path / "checksums", about.checksums, everything=everything):
        return None
    if everything:
        write_state(path)
    weakref.finalize(pixels, os.close, lock)
    images: Pixels = np.frombuffer(pixels, dtype=np.uint8).reshape(about.shape)
    return images


def _state(path: Path) -> dict[str, Any]:
    status = (path / "pixels").stat()
    return {"boot": boot(), "stamp": [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]}


def write_state(path: Path) -> None:
    """Notes that all pixels of an entry are as they should be."""
    with suppress(OSError):
        temporary = path / f"state.{os.getpid()}"
        temporary.write_text(json.dumps(_state(path)), encoding="utf-8")
        temporary.replace(path / "state.json")


def _is_state_known(path: Path) -> bool:
    """Whether the pixels are untouched since all of them were checked, in this life of the machine."""
    try:
        known: bool = json.loads((path / "state.json").read_text(encoding="utf-8")) == _state(path)
    except (OSError, ValueError):
        return False
    return known


def _discard(path: Path) -> bool:
    """Removes a folder, in one step as far as others can see."""
    gone = path.with_name(f"{GONE}{os.urandom(4).hex()}")
    try:
        path.rename(gone)
    except OSError:
        return False
    shutil.rmtree(gone, ignore_errors=True)
    return True


def remove_leftovers() -> None:
    """Removes what killed processes left: drafts that nobody holds, and entries that were being removed."""
    with suppress(OSError), os.scandir(directory()) as listed:
        for item in listed:
            with suppress(OSError):
                age = time.time() - item.stat().st_mtime
                if item.name.startswith(GONE):
                    shutil.rmtree(item.path, ignore_errors=True)
                elif item.name.startswith(BUILDING) and age > YOUNG_SECONDS:
                    _remove_abandoned(Path(item.path))
                elif item.name.startswith(LOCK) and age > DAY_SECONDS:
                    Path(item.path).unlink()


def _remove_abandoned(path: Path) -> None:
    lock = _acquire(path, exclusive=True)
    if lock is not None or not (path / "lock").exists():
        shutil.rmtree(path, ignore_errors=True)
    if lock is not None:
        os.close(lock)
