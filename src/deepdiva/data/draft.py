"""Entries of the cache that are being made: filled in a folder of their own, and renamed when they are whole."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from deepdiva.data.blocks import BlockWriter
from deepdiva.data.cache import BUILDING, LOCK, About, directory, remove_leftovers, write_state

if TYPE_CHECKING:
    from deepdiva.data.decode import Pixels


@contextmanager
def building(name: str) -> Iterator[None]:
    """Holds the right to decode the data set called `name`: of runs that start at once one decodes, and all use it.

    Where the file system has no locks all of them decode, and the first to end is believed.
    """
    path = directory() / f"{LOCK}{name}"
    handle = -1
    try:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        if handle >= 0:
            os.close(handle)


class Draft:
    """An entry that is being made: images are added in order, and `publish` makes it an entry.

    Raises:
        OSError: The disk is full, or cannot be written.
    """

    def __init__(self) -> None:
        remove_leftovers()
        self.path = directory() / f"{BUILDING}{os.getpid()}-{os.urandom(4).hex()}"
        self.path.mkdir(parents=True)
        self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with suppress(OSError):
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._writer = BlockWriter(self.path / "pixels")

    def add(self, images: Pixels) -> None:
        """Appends pixels."""
        self._writer.write(np.ascontiguousarray(images).reshape(-1).data)

    def rewrite(self, change: Callable[[Pixels], Iterable[Pixels]]) -> None:
        """Writes all pixels anew; `change` gets those that were written, one after the other, and gives the new."""
        self._writer.finish()
        writer = BlockWriter(self.path / "pixels.new")
        try:
            for images in change(np.memmap(self.path / "pixels", mode="r", dtype=np.uint8)):
                writer.write(np.ascontiguousarray(images).reshape(-1).data)
        finally:
            writer.finish()
        (self.path / "pixels.new").replace(self.path / "pixels")
        self._writer = writer

    def publish(self, key: str, *, source: str, root: str, shape: tuple[int, ...], decoding: str) -> None:
        """Makes this the entry `key`; where another process was quicker, its entry stays."""
        self._writer.finish()
        about = About(source, root, shape, decoding, self._writer.write_checksums(self.path / "checksums"))
        (self.path / "pixels").chmod(0o400)
        write_state(self.path)
        (self.path / "about.json").write_text(json.dumps(asdict(about)), encoding="utf-8")
        # From here on it may be looked at, but must not be taken for a leftover.
        os.utime(self.path)
        with suppress(OSError):
            self.path.rename(self.path.with_name(key))
        self.close()

    def close(self) -> None:
        """Removes what was not published."""
        self._writer.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        shutil.rmtree(self.path, ignore_errors=True)
