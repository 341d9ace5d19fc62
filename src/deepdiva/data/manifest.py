"""What this machine remembers of a data set: stamp and hash of every file, so that untouched files are not read again.

It is kept in the user's cache, never in the data set, and is safe to delete.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
from array import array
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from deepdiva.data.files import Hashed, Stamp

SCHEMA = f"2 {sys.byteorder}"
COLUMNS = ("q", "q", "q", "Q")
"""Types of the numbers of a stamp: inodes may take all 64 bits."""
HEX, NUMBER = 64, 8
MOST_BYTES = 256_000_000
"""What each kind of small file may take in the cache."""
COARSE_NS = 2_000_000_000
FINE_NS = 50_000_000
SECOND_NS = 1_000_000_000


def cache_directory() -> Path:
    """`$XDG_CACHE_HOME/deepdiva`, or `~/.cache/deepdiva`."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if given.startswith("/") else Path.home() / ".cache"
    return base / "deepdiva"


def load(path: Path) -> dict[str, Hashed]:
    """What is remembered of the data set at `path`; nothing when there is no manifest or it is damaged."""
    try:
        check, head, body = _place(path).read_bytes().split(b"\n", 2)
        touch(_place(path))
        about = json.loads(head)
        if about["schema"] != SCHEMA or hashlib.sha256(head + body).hexdigest().encode() != check:
            return {}
        count, start = about["count"], about["names"]
        names = body[:start].decode("utf-8", "surrogateescape").split("\0") if count else []
        digests = body[start : start + HEX * count].decode("ascii")
        hashes = [digests[place : place + HEX] for place in range(0, HEX * count, HEX)]
        numbers, size = body[start + HEX * count :], NUMBER * count
        columns = [array(kind, numbers[place * size : (place + 1) * size]) for place, kind in enumerate(COLUMNS)]
        return dict(zip(names, zip(hashes, zip(*columns, strict=True), strict=True), strict=True))
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def save(path: Path, hashes: Mapping[str, Hashed], *, now_ns: int) -> None:
    """Remembers the files of the data set at `path`; a cache that cannot be written is no trouble.

    A file touched a moment ago is left out: it could change once more within one tick of the file system's clock,
    and its stamp would then stand for two contents.

    The file has a line with the SHA-256 of the rest, a line of JSON, and then, one after the other: the names with zero
    bytes between them, the hashes in hexadecimal, sizes, times of writing, times of change, and inodes, eight bytes
    each in the order of this machine. As JSON it would take four times as long to write and twice as long to read.

    Args:
        path: The data set.
        hashes: Hash and stamp of every file.
        now_ns: The time at which the first of the files was read.
    """
    old = now_ns - COARSE_NS
    kept = {
        name: hashed
        for name, hashed in hashes.items()
        if (hashed[1][1] < old and hashed[1][2] < old) or is_settled(hashed[1], now_ns=now_ns)
    }
    names = "\0".join(kept).encode("utf-8", "surrogateescape")
    about = {"schema": SCHEMA, "path": os.path.realpath(path), "count": len(kept), "names": len(names)}
    digests, stamps = zip(*kept.values(), strict=True) if kept else ((), ())
    columns = zip(COLUMNS, zip(*stamps, strict=True), strict=True) if kept else ()
    head = json.dumps(about).encode()
    body = b"".join([names, "".join(digests).encode("ascii"), *(array(kind, column) for kind, column in columns)])
    with suppress(OSError):
        replace_file(_place(path), b"\n".join([hashlib.sha256(head + body).hexdigest().encode(), head, body]))
        keep_within(_place(path).parent)


def is_settled(stamp: Stamp, *, now_ns: int) -> bool:
    """Whether a file was last touched long enough before `now_ns` for its stamp to stand for one content only."""
    latest = max(stamp[1], stamp[2])
    # Whole seconds come from file systems that count no finer.
    tick = COARSE_NS if latest % SECOND_NS == 0 else FINE_NS
    return latest + tick < now_ns


def _place(path: Path) -> Path:
    key = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:32]
    return cache_directory() / "footprints" / f"{key}.manifest"


def replace_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Writes a whole file at once, so that two runs that do it together leave one of the two.

    Args:
        path: The file.
        content: What it will hold.
        mode: Who may read it, before the user's mask is taken off.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        name.replace(path)
    except BaseException:
        name.unlink(missing_ok=True)
        raise


def keep_within(folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """Removes of the files in a folder of the cache those that were used longest ago, until the rest is small enough.

    The time of a file's last writing counts as that of its last use: who reads one touches it.
    """
    with suppress(OSError), os.scandir(folder) as listed:
        found = [(entry.stat(), entry.path) for entry in listed if entry.is_file(follow_symlinks=False)]
        files = sorted(found, key=lambda file: file[0].st_mtime_ns)
        total = sum(status.st_size for status, _ in files)
        for status, path in files:
            if total <= most_bytes:
                break
            with suppress(FileNotFoundError):  # another process was quicker
                Path(path).unlink()
            total -= status.st_size


def touch(file: Path) -> None:
    """Notes that a file of the cache was used just now."""
    with suppress(OSError):
        os.utime(file)
