"""A damaged block is noticed: always when all are checked, sooner or later in samples."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from deepdiva.data import blocks


def damage(path: Path, place: int) -> None:
    """Changes one byte, and leaves all else as it was."""
    before = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_all_blocks_are_checked_when_the_stamp_is_new_and_a_sample_otherwise(tmp_path: Path):
    import mmap

    path, size = tmp_path / "pixels", 40 * blocks.BLOCK + 5
    writer = blocks.BlockWriter(path)
    writer.write(memoryview(np.arange(size, dtype=np.uint8)))
    writer.finish()
    check = writer.write_checksums(tmp_path / "checksums")

    def holds(*, everything: bool) -> bool:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return blocks.check_blocks(content, tmp_path / "checksums", check, everything=everything)

    assert holds(everything=True)
    assert holds(everything=False)
    damage(path, 20 * blocks.BLOCK)
    assert not holds(everything=True)
    assert not all(holds(everything=False) for _ in range(60))  # seen with probability 1 - (33/39)**60
    damage(path, 20 * blocks.BLOCK)
    damage(path, size - 1)
    assert not holds(everything=False)
