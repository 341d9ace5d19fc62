"""Files of a data set as they lie on disk: found, read and hashed, with every trouble on the way named."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from deepdiva.errors import Problem, UserError, UserErrors, did_you_mean

WRITTEN_PROOF = "deepdiva-footprint.json"
"""The file in which a data set carries its own footprint, where somebody asked for it."""

IGNORED = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", ".git", ".hg", ".svn", WRITTEN_PROOF})
"""What file browsers, version control and we write: not part of a data set."""

BLOCK = 1 << 20
# A pipe would block when it is opened; like this it opens at once and is refused for what it is.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
SMALL = 1 << 14
"""Bytes that files have on the average, below which a second thread makes hashing slower and not faster."""
CHUNK_FILES = 256
CHUNK_BYTES = 16 << 20
MOST_THREADS = 8
AHEAD = 4
"""Items a thread that are begun before the first result is taken."""
LISTED = 100
"""Problems shown in one message; what is beyond is counted."""

Item = TypeVar("Item")
Result = TypeVar("Result")


Stamp: TypeAlias = tuple[int, int, int, int]
"""Size, time of the last writing, time of the last change, inode: what a file system tells without reading a file.

No program can set the time of the last change back. Times are in nanoseconds. A plain tuple, because sets of
100,000 files are common and a named one takes five times as long to make.
"""

Hashed: TypeAlias = tuple[str, Stamp]
"""SHA-256 of a file's content, and its stamp, the same before and after it was read."""


class Trouble(NamedTuple):
    """A file, folder or link that cannot be read, and why not."""

    name: str
    message: str

    @property
    def problem(self) -> Problem:
        """The same as a line for people."""
        return Problem(self.message, printable(self.name))


@dataclass(frozen=True)
class Scan:
    """All that lies below a folder, or one file.

    Args:
        root: The folder, or the folder that the file is in.
        files: Stamp of every file, by its name relative to `root` with `/` between the parts. Bytes of a name that
            are not UTF-8 stand as surrogates, as everywhere in Python.
        folders: Names of all folders.
        troubles: What cannot be read.
    """

    root: Path
    files: dict[str, Stamp]
    folders: tuple[str, ...]
    troubles: tuple[Trouble, ...]


class UnstableFileError(OSError):
    """A file changed while it was read, so that its content is not known."""


def scan(path: Path) -> Scan:
    """Everything below `path`; links are followed, since what they lead to is what will be read.

    Raises:
        OSError: `path` itself cannot be read.
    """
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a file or folder")
        return Scan(path.parent, {path.name: _stamp(status)}, (), ())
    files: dict[str, Stamp] = {}
    folders: list[str] = []
    troubles: list[Trouble] = []
    waiting: list[tuple[str, str, tuple[tuple[int, int], ...]]] = [("", os.fspath(path), (_identity(status),))]
    while waiting:
        prefix, folder, above = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                listed = [entry for entry in entries if entry.name not in IGNORED]
        except OSError as error:
            if not prefix:
                raise
            troubles.append(Trouble(prefix[:-1], f"cannot be listed: {reason(error)}"))
            continue
        for entry in listed:
            name = prefix + entry.name
            try:
                status = entry.stat()
                if stat.S_ISREG(status.st_mode):
                    files[name] = _stamp(status)
                elif not stat.S_ISDIR(status.st_mode):
                    troubles.append(Trouble(name, "is neither a file nor a folder"))
                elif (identity := _identity(status)) in above:
                    troubles.append(Trouble(name, "is a link to a folder that it lies in"))
                else:
                    folders.append(name)
                    waiting.append((f"{name}/", entry.path, (*above, identity)))
            except OSError as error:
                troubles.append(Trouble(name, _missing(entry, error)))
    return Scan(path, files, tuple(sorted(folders)), tuple(troubles))


def existing_folder(path: Path, *, expected: str, names: Iterable[str] = ()) -> Path:
    """`path`, which is a folder.

    Args:
        path: Where a data set should be.
        expected: What should lie there, for the hint.
        names: What else could have been meant by a misspelt path, besides what lies next to it.

    Raises:
        UserError: There is no such folder.
    """
    if path.is_dir():
        return path
    if path.exists():
        raise UserError(f"{path} is not a folder", expected)
    siblings = [str(path.parent / entry.name) for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    raise UserError(f"there is no folder {path}", did_you_mean(str(path), [*names, *siblings]) or expected)


def hash_file(path: str, listed: Stamp | None = None) -> Hashed:
    """The SHA-256 of a file, read in blocks.

    Args:
        path: The file.
        listed: Its stamp when it was listed, which saves asking for it again. If it has changed since then, it is
            read once more as it is now; only a change during that reading is an error.

    Raises:
        UnstableFileError: The file changed while it was read.
        OSError: The file cannot be read.
    """
    if listed is not None and listed[0] < BLOCK:
        try:
            return _read(path, listed)[1]
        except UnstableFileError:
            return _read(path, None)[1]
    digest = hashlib.sha256()
    buffer = _buffer()
    with _opened(path) as handle:
        before, size = _stamp_of(handle), 0
        # A file that grows as fast as it is read cannot hold us for ever.
        while size < before[0] and (count := os.readv(handle, [buffer])):
            digest.update(buffer[:count])
            size += count
        _check_stable(handle, before, size)
    return digest.hexdigest(), before


def read_file(path: str, listed: Stamp | None = None) -> tuple[bytes, Hashed]:
    """A whole file and its SHA-256, in one pass; arguments and errors as for `hash_file`."""
    try:
        return _read(path, listed)
    except UnstableFileError:
        if listed is None:
            raise
        return _read(path, None)


def hash_files(
    root: Path, files: Mapping[str, Stamp], *, threads: int | None = None
) -> tuple[dict[str, Hashed], list[Trouble]]:
    """Hashes of many files, on several threads (hashlib and reading let go of the interpreter's lock).

    Args:
        root: The folder that names are relative to.
        files: Stamp of every file by name; a file that was touched since then counts as it is now.
        threads: How many at most; None takes as many as there are cores, up to 8. Small files stay on one: opening
            and closing them holds the lock for longer than it takes to hash them.
    """
    base = os.fspath(root)
    if sum(stamp[0] for stamp in files.values()) < SMALL * len(files):
        threads = 1

    def work(chunk: Sequence[str]) -> tuple[list[tuple[str, Hashed]], list[Trouble]]:
        done, troubles = [], []
        for name in chunk:
            try:
                done.append((name, hash_file(f"{base}/{name}", files[name])))
            except OSError as error:
                troubles.append(Trouble(name, f"cannot be read: {reason(error)}"))
        return done, troubles

    hashes: dict[str, Hashed] = {}
    troubles: list[Trouble] = []
    for done, missed in in_threads(work, _chunks(files), threads=threads):
        hashes.update(done)
        troubles.extend(missed)
    return hashes, troubles


def in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int | None = None
) -> Iterator[Result]:
    """`work` of every item, in the order of the items; an interruption drops what has not begun.

    Only a few items are worked on ahead, so that results do not pile up where they are used more slowly.
    """
    count = default_threads() if threads is None else threads
    if count <= 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(count, thread_name_prefix="deepdiva-data") as pool:
        rest = iter(items)
        waiting = deque(pool.submit(work, item) for item in islice(rest, AHEAD * count))
        try:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(work, item) for item in islice(rest, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()


def default_threads() -> int:
    """One thread a core that this process may use, up to 8."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return min(cores, MOST_THREADS)


def to_errors(problems: Sequence[Problem], summary: str) -> UserErrors:
    """One error that names all `problems`, the first hundred of them if there are more."""
    listed = list(problems[:LISTED])
    if len(problems) > LISTED:
        listed.append(Problem(f"… and {len(problems) - LISTED} more"))
    return UserErrors(listed, summary)


def printable(name: str) -> str:
    """A name that can be shown on any terminal: line breaks and bytes that are not UTF-8 are escaped."""
    return repr(name)[1:-1]


def reason(error: OSError) -> str:
    """Why the system refused, in its own words without the path."""
    return error.strerror or str(error)


def _missing(entry: os.DirEntry[str], error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and entry.is_symlink():
        return f"is a link to {printable(str(Path(entry.path).readlink()))}, which does not exist"
    return f"cannot be read: {reason(error)}"


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


_buffers = threading.local()


def _buffer() -> memoryview:
    """A block of memory for this thread: one fresh block a file would cost more than hashing a small file."""
    view: memoryview | None = getattr(_buffers, "view", None)
    if view is None:
        view = _buffers.view = memoryview(bytearray(BLOCK))
    return view


@contextmanager
def _opened(path: str) -> Iterator[int]:
    handle = os.open(path, _FLAGS)
    try:
        yield handle
    finally:
        os.close(handle)


def _read(path: str, expected: Stamp | None) -> tuple[bytes, Hashed]:
    # Written out in one piece: for small files, calls cost more than reading and hashing.
    handle = os.open(path, _FLAGS)
    try:
        before = _stamp_of(handle) if expected is None else expected
        size = before[0]
        content = os.read(handle, size + 1)
        while len(content) < size and (more := os.read(handle, size + 1 - len(content))):
            content += more
        status = os.fstat(handle)
    finally:
        os.close(handle)
    if len(content) != size or _stamp(status) != before or not stat.S_ISREG(status.st_mode):
        raise UnstableFileError("it changed while it was read")
    return content, (hashlib.sha256(content).hexdigest(), before)


def _stamp_of(handle: int) -> Stamp:
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("not a regular file")
    return _stamp(status)


def _check_stable(handle: int, before: Stamp, size: int) -> None:
    if size != before[0] or _stamp_of(handle) != before:
        raise UnstableFileError("it changed while it was read")


def _chunks(files: Mapping[str, Stamp]) -> Iterator[list[str]]:
    """Portions large enough that handing them to a thread costs nothing, small enough to keep all threads busy."""
    chunk: list[str] = []
    weight = 0
    for name, stamp in files.items():
        chunk.append(name)
        weight += stamp[0]
        if len(chunk) >= CHUNK_FILES or weight >= CHUNK_BYTES:
            yield chunk
            chunk, weight = [], 0
    if chunk:
        yield chunk
