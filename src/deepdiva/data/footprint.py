"""Footprints: the proof of what a data set holds, and what has changed since it was taken."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from deepdiva.data import manifest
from deepdiva.data.changes import Changes, compare
from deepdiva.data.files import Hashed, Trouble, hash_files, printable, read_file, reason, scan, to_errors
from deepdiva.errors import UserError

SCHEMA = 1


class Entry(NamedTuple):
    """One file: its size in bytes and the SHA-256 of its content."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Footprint:
    """What a data set holds: every file with its size and content.

    Names are relative, so an exact copy has the same footprint wherever it lies and whatever its times, owners and
    order on disk are. Empty folders do not count. Links count as what they lead to.

    Args:
        files: Every file by name, `/` between the parts.
        kind: `folder`, `file`, or `contents` for data that were made and not read.
        source: Where it was, as the user wrote it; no part of the digest.
    """

    files: Mapping[str, Entry]
    kind: str = "folder"
    source: str = field(default="", compare=False)

    @cached_property
    def root(self) -> str:
        """The digest of the whole: SHA-256 of the top folder's list.

        The list of a folder has for each child, in the order of the bytes of the names, the name, a zero byte, and
        `file <size> <sha256>` or `folder <digest of its list>` with a line end.
        """
        lists: dict[str, list[str]] = {"": []}
        for name, (size, sha256) in self.files.items():
            folder, _, base = name.rpartition("/")
            children = lists.get(folder)
            if children is None:
                children = _begin(lists, folder)
            children.append(f"{base}\0file {size} {sha256}\n")
        for folder in sorted(lists, key=_depth, reverse=True):
            digest = _digest(lists.pop(folder))
            if folder:
                above, _, base = folder.rpartition("/")
                lists[above].append(f"{base}\0folder {digest}\n")
        return digest

    @property
    def size(self) -> int:
        """Bytes in all files together."""
        return sum(entry.size for entry in self.files.values())

    def changes_to(self, other: Footprint) -> Changes:
        """What differs in `other`, a footprint that was taken later or elsewhere."""
        return compare(self.files, other.files)

    def to_json(self) -> str:
        """The footprint as text, one file a line, in ASCII whatever the names are."""
        head = {"schema": SCHEMA, "kind": self.kind, "root": self.root, "source": self.source, "size": self.size}
        names = sorted(self.files, key=_bytes)
        rows = ",\n".join(f"[{json.dumps(name)},{self.files[name].size},{_quoted(self.files[name])}]" for name in names)
        return f'{json.dumps(head)[:-1]}, "files": [\n{rows}\n]}}\n'

    @classmethod
    def from_json(cls, text: str) -> Footprint:
        """The footprint that `to_json` wrote.

        Raises:
            UserError: The text is no footprint, or was altered.
        """
        try:
            content = json.loads(text)
            files = {name: Entry(size, sha256) for name, size, sha256 in content["files"]}
            read = cls(files, content["kind"], content["source"])
            intact = content["schema"] == SCHEMA and content["root"] == read.root
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(f"this is not a footprint: {error}") from error
        if not intact:
            raise UserError("this footprint was altered: its files do not give its root digest")
        return read


def footprint(path: Path | str, *, deep: bool = False, threads: int | None = None) -> Footprint:
    """The footprint of a folder, or of one file.

    Args:
        path: The data set; nothing is written into it.
        deep: Whether every file is read. Otherwise a file whose size, times and inode are those this machine
            remembers is not: no program can change a file and leave them all as they were.
        threads: How many read at the same time; None takes as many as there are cores.

    Raises:
        UserErrors: Files that cannot be read, all of them.
        UserError: There is nothing at `path`.
    """
    return Recorder(path, deep=deep, threads=threads).finish()


def verify(expected: Footprint, path: Path | str, *, deep: bool = False, threads: int | None = None) -> Changes:
    """How the data set at `path` differs from `expected`; `deep` and `threads` as for `footprint`.

    Raises:
        UserError: There is nothing at `path`.
    """
    recorder = Recorder(path, deep=deep, threads=threads)
    found = recorder.collect()
    return compare(expected.files, found.files, troubles=recorder.troubles)


def of_contents(contents: Mapping[str, bytes | memoryview], *, source: str = "") -> Footprint:
    """The footprint of data that were made and not read, such as a generated set: one entry for every part."""
    files = {
        name: Entry(memoryview(content).nbytes, hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
    }
    return Footprint(files, "contents", source)


class Recorder:
    """Takes a footprint while files are read for another purpose, so that each is read once.

    Args:
        path: The data set, a folder or one file.
        deep: Whether `finish` reads the files that nobody asked for even where they seem untouched.
        threads: How many threads `finish` uses.
        source: What to call the data set; None takes the path as it is written.

    Raises:
        UserError: There is nothing at `path`.
    """

    def __init__(
        self, path: Path | str, *, deep: bool = False, threads: int | None = None, source: str | None = None
    ) -> None:
        self.path = Path(path)
        self._source = os.fspath(path) if source is None else source
        self._threads = threads
        self._began_ns = time.time_ns()
        try:
            self._scan = scan(self.path)
        except OSError as error:
            raise UserError(f"{printable(self._source)} cannot be read: {reason(error)}") from error
        self._kind = "file" if self._scan.root != self.path else "folder"
        self._remembered = {} if deep else manifest.load(self.path)
        self._hashes: dict[str, Hashed] = {}
        self.troubles: list[Trouble] = list(self._scan.troubles)

    @property
    def names(self) -> list[str]:
        """Names of all files, relative to the data set, sorted."""
        return sorted(self._scan.files)

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of all folders below the data set, sorted."""
        return self._scan.folders

    def read(self, name: str) -> bytes:
        """The content of a file, noted in the footprint; may be called from several threads.

        Raises:
            OSError: The file cannot be read, or changed meanwhile.
        """
        content, hashed = self.read_apart(name)
        self.note(name, hashed)
        return content

    def read_apart(self, name: str) -> tuple[bytes, Hashed]:
        """As `read`, for another process, whose hash is lost unless it is handed back to `note` in this one."""
        return read_file(f"{os.fspath(self._scan.root)}/{name}", self._scan.files[name])

    def note(self, name: str, hashed: Hashed) -> None:
        """Takes down the hash of a file that was read elsewhere."""
        self._hashes[name] = hashed

    def known(self) -> Footprint | None:
        """The footprint, where every file is as this machine remembers it, so that none has to be read."""
        if self.troubles or any(
            (found := self._remembered.get(name)) is None or found[1] != stamp
            for name, stamp in self._scan.files.items()
        ):
            return None
        return self.collect()

    def finish(self) -> Footprint:
        """The footprint of the whole data set; what nobody has read is hashed, or known to be untouched.

        Raises:
            UserErrors: Files that cannot be read, all of them.
        """
        found = self.collect()
        if self.troubles:
            problems = [trouble.problem for trouble in self.troubles]
            raise to_errors(problems, f"{printable(self._source)} cannot be read as a whole")
        return found

    def collect(self) -> Footprint:
        """The footprint of all that can be read; the rest is named in `troubles`."""
        hashes = {
            name: known
            for name, stamp in self._scan.files.items()
            if (known := self._remembered.get(name)) is not None and known[1] == stamp
        }
        hashes.update(self._hashes)
        fresh = {name: stamp for name, stamp in self._scan.files.items() if name not in hashes}
        hashed, troubles = hash_files(self._scan.root, fresh, threads=self._threads)
        hashes.update(hashed)
        self.troubles.extend(troubles)
        if hashes != self._remembered:
            manifest.save(self.path, hashes, now_ns=self._began_ns)
        files = {name: Entry(stamp[0], sha256) for name, (sha256, stamp) in hashes.items()}
        return Footprint(files, self._kind, self._source)


def _depth(folder: str) -> int:
    return folder.count("/") + 1 if folder else 0


def _begin(lists: dict[str, list[str]], folder: str) -> list[str]:
    """An empty list for `folder`, and for the folders that it is in where they have none yet."""
    above = folder.rpartition("/")[0]
    if above not in lists:
        _begin(lists, above)
    return lists.setdefault(folder, [])


def _digest(children: list[str]) -> str:
    return hashlib.sha256(b"".join(sorted(map(_bytes, children)))).hexdigest()


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _quoted(entry: Entry) -> str:
    return f'"{entry.sha256}"'
