"""Large files with a checksum for every block, so that a sample of them, or all, can be checked quickly."""

from __future__ import annotations

import hashlib
import mmap
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from deepdiva.data.files import in_threads

BLOCK = 1 << 20
SAMPLE = 8
DIGEST = 32


class BlockWriter:
    """Writes a file from its beginning to its end and hashes it block by block on the way.

    Args:
        path: The file, which must not be there yet.

    Raises:
        OSError: The disk is full, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._digests: list[bytes] = []
        self._block = hashlib.sha256()

    def write(self, content: memoryview) -> None:
        """Appends bytes."""
        rest = content
        while rest:
            rest = rest[os.write(self._handle, rest) :]
        while content:
            room = BLOCK - self.size % BLOCK
            self._block.update(content[:room])
            self.size += len(content[:room])
            if self.size % BLOCK == 0:
                self._end_block()
            content = content[room:]

    def finish(self) -> None:
        """Ends the file."""
        if self._handle < 0:
            return
        if self.size % BLOCK:
            self._end_block()
        if not boot():
            # Where a restart of the machine would go unseen, the disk must have it now.
            os.fsync(self._handle)
        self.close()

    def close(self) -> None:
        """Lets go of the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def write_checksums(self, path: Path) -> str:
        """Writes the checksums of all blocks, and gives that of this list."""
        listed = b"".join(self._digests)
        path.write_bytes(listed)
        return hashlib.sha256(listed).hexdigest()

    def _end_block(self) -> None:
        self._digests.append(self._block.digest())
        self._block = hashlib.sha256()


def check_blocks(content: mmap.mmap, checksums: Path, expected: str, *, everything: bool) -> bool:
    """Whether the blocks of `content` fit their checksums.

    Args:
        content: The file.
        checksums: Where `BlockWriter` wrote the checksums.
        expected: What it gave.
        everything: Whether all blocks are checked, on several threads; otherwise the first, the last, and others that
            are drawn anew each time, eight in all.
    """
    try:
        listed = checksums.read_bytes()
    except OSError:
        return False
    count = -(-len(content) // BLOCK)
    if hashlib.sha256(listed).hexdigest() != expected or len(listed) != count * DIGEST:
        return False
    places: Sequence[int] = range(count)
    if not everything and count > SAMPLE:
        # The system's randomness: nothing in a run depends on it, and no generator is moved.
        places = [0, count - 1, *random.SystemRandom().sample(range(1, count - 1), SAMPLE - 2)]

    def fits(place: int) -> bool:
        with memoryview(content) as view, view[place * BLOCK : (place + 1) * BLOCK] as block:
            return hashlib.sha256(block).digest() == listed[place * DIGEST : (place + 1) * DIGEST]

    return all(in_threads(fits, places, threads=None if len(places) > SAMPLE else 1))


def boot() -> str:
    """What this life of the machine is called, between two restarts; empty where the system does not say."""
    if sys.platform != "linux":
        return ""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
