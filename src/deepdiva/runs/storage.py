"""Changes on disk that survive a kill, a full disk or a power cut, with every system call in one place."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from deepdiva.errors import UserError


class StorageError(UserError):
    """The disk refused a change, or a file of a run does not hold what was written to it."""


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, ASCII, shortest floats, `NaN` and `Infinity` allowed."""
    return _ENCODER.encode(value)


def plain(value: Any) -> Any:
    """What JSON can hold of a path, a mapping, or a scalar of numpy or torch."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if callable(item := getattr(value, "item", None)):
        return item()
    raise TypeError(f"a record cannot hold {value!r}")


class System:
    """The system calls that change a disk, one method each: tests replace them to let any single call fail."""

    def open(self, path: Path, flags: int) -> int:
        """Open a file or directory and give its descriptor."""
        return os.open(path, flags | os.O_CLOEXEC, 0o666)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write some of `data`, all of it or less, and give the number of bytes."""
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        """Wait until the disk holds the file, or the names in the directory."""
        if sys.platform == "darwin":  # there fsync stops at the drive's own cache
            import fcntl

            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fsync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut an open file."""
        os.ftruncate(descriptor, size)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        """Rename a file over another in one step."""
        source.replace(target)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def make_directory(self, path: Path) -> None:
        """Make one directory, which must not be there yet."""
        path.mkdir()

    def remove_directory(self, path: Path) -> None:
        """Remove one empty directory."""
        path.rmdir()

    def remove_tree(self, path: Path) -> None:
        """Remove a directory with all that is in it."""
        import shutil

        shutil.rmtree(path)


class Storage:
    """Durable changes to files; every failure is a `StorageError` that says which file and why."""

    def __init__(self, system: System | None = None) -> None:
        self.system = system or System()

    def write(self, path: Path, data: bytes, *, durable: bool = True) -> None:
        """Replace a file in one step: whoever reads it sees all of the old content or all of the new.

        With `durable` it also survives a power cut from the moment this returns.
        """
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        with _explained(path):
            try:
                self._fill(temporary, data, durable=durable)
                self.system.replace(temporary, path)
            except OSError:
                with contextlib.suppress(OSError):
                    self.system.unlink(temporary)
                raise
            if durable:
                self._sync_names(path.parent)

    def append(self, path: Path, data: bytes, *, at: int) -> None:
        """Append to a file that should be `at` bytes long: a rest beyond (of a failed append) is cut off first.

        When the disk is full the file is left as it was.
        """
        with _explained(path), self._opened(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as descriptor:
            size = os.fstat(descriptor).st_size
            if size < at:
                raise StorageError(f"{path} was shortened by another program: {size} bytes, {at} were written")
            if size > at:
                self.system.truncate(descriptor, at)
            try:
                self._write_all(descriptor, data)
            except OSError:
                with contextlib.suppress(OSError):
                    self.system.truncate(descriptor, at)
                raise

    def sync(self, path: Path) -> None:
        """Wait until the disk holds a file and its name."""
        with _explained(path):
            with self._opened(path, os.O_RDONLY) as descriptor:
                self.system.fsync(descriptor)
            self._sync_names(path.parent)

    def sync_files(self, paths: Iterable[Path]) -> None:
        """Wait until the disk holds some files and their names; each folder is waited for once."""
        folders = set()
        for path in paths:
            with _explained(path), self._opened(path, os.O_RDONLY) as descriptor:
                self.system.fsync(descriptor)
            folders.add(path.parent)
        for folder in sorted(folders):
            with _explained(folder):
                self._sync_names(folder)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file, durably."""
        with _explained(path), self._opened(path, os.O_WRONLY) as descriptor:
            self.system.truncate(descriptor, size)
            self.system.fsync(descriptor)

    def make_directory(self, path: Path, *, exist_ok: bool = True) -> list[Path]:
        """Make a directory and the missing ones above it, durably; gives those that were made, outermost first."""
        missing = [path, *path.parents]
        missing = list(reversed(missing[: next(i for i, folder in enumerate(missing) if folder.is_dir())]))
        if not missing and not exist_ok:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        made = []
        with _explained(path):
            for folder in missing:
                try:
                    self.system.make_directory(folder)
                    made.append(folder)
                except FileExistsError:
                    if not folder.is_dir():
                        raise NotADirectoryError(errno.ENOTDIR, "a file has that name", str(folder)) from None
                    if folder == path and not exist_ok:
                        raise  # otherwise another process was quicker, which is fine
                self._sync_names(folder.parent)
        return made

    def remove(self, path: Path) -> None:
        """Remove a file; it may be gone already."""
        with _explained(path), contextlib.suppress(FileNotFoundError):
            self.system.unlink(path)

    def remove_tree(self, path: Path) -> None:
        """Remove a directory with all that is in it."""
        with _explained(path):
            self.system.remove_tree(path)

    def remove_empty(self, path: Path) -> bool:
        """Remove a directory if nothing is in it; whether it went."""
        with _explained(path):
            try:
                self.system.remove_directory(path)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                    return False
                raise
        return True

    def _fill(self, path: Path, data: bytes, *, durable: bool) -> None:
        with self._opened(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as descriptor:
            self._write_all(descriptor, data)
            if durable:
                self.system.fsync(descriptor)

    def _write_all(self, descriptor: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self.system.write(descriptor, rest) :]

    def _sync_names(self, folder: Path) -> None:
        with self._opened(folder, os.O_RDONLY) as descriptor:
            try:
                self.system.fsync(descriptor)
            except OSError as error:  # some network file systems know no fsync for directories
                if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                    raise

    @contextlib.contextmanager
    def _opened(self, path: Path, flags: int) -> Iterator[int]:
        descriptor = self.system.open(path, flags)
        try:
            yield descriptor
        finally:
            self.system.close(descriptor)


# The check for values that hold themselves would double the time a small record takes.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=plain, check_circular=False)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the system's errors into ones that a user can act on."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        hints = {
            errno.ENOSPC: "free some space on that disk, or choose another with --runs-dir",
            errno.EDQUOT: "your quota on that disk is used up: free some space, or choose another with --runs-dir",
            errno.EACCES: "you may not write there: choose another folder with --runs-dir",
            errno.EROFS: "that disk is read-only: choose another folder with --runs-dir",
        }
        reason = (error.strerror or str(error)).lower()
        raise StorageError(f"cannot write {path}: {reason}", hints.get(error.errno or 0)) from error
