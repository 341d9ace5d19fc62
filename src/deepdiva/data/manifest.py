"""What this machine remembers of a data set: stamp and hash of every file, so that untouched files are not read again.

It is kept in the user's cache, never in the data set, and is safe to delete.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from deepdiva.data.files import Hashed, Stamp

SCHEMA = 1
COLUMNS = ("sizes", "modified", "changed", "inodes")
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
        check, _, body = _place(path).read_bytes().partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != check:
            return {}
        content = json.loads(body)
        if content["schema"] != SCHEMA:
            return {}
        stamps = zip(*(content[column] for column in COLUMNS), strict=True)
        return dict(zip(content["names"], zip(content["sha256"], stamps, strict=True), strict=True))
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def save(path: Path, hashes: Mapping[str, Hashed], *, now_ns: int) -> None:
    """Remembers the files of the data set at `path`; a cache that cannot be written is no trouble.

    A file touched a moment ago is left out: it could change once more within one tick of the file system's clock,
    and its stamp would then stand for two contents.

    Args:
        path: The data set.
        hashes: Hash and stamp of every file.
        now_ns: The time at which the first of the files was read.
    """
    kept = {name: hashed for name, hashed in hashes.items() if is_settled(hashed[1], now_ns=now_ns)}
    stamps = zip(*(stamp for _, stamp in kept.values()), strict=True) if kept else ([] for _ in COLUMNS)
    content = {
        "schema": SCHEMA,
        "path": os.path.realpath(path),
        "names": list(kept),
        "sha256": [sha256 for sha256, _ in kept.values()],
        **dict(zip(COLUMNS, map(list, stamps), strict=True)),
    }
    body = json.dumps(content, separators=(",", ":")).encode()
    with suppress(OSError):
        replace_file(_place(path), hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def is_settled(stamp: Stamp, *, now_ns: int) -> bool:
    """Whether a file was last touched long enough before `now_ns` for its stamp to stand for one content only."""
    latest = max(stamp[1], stamp[2])
    # Whole seconds come from file systems that count no finer.
    tick = COARSE_NS if latest % SECOND_NS == 0 else FINE_NS
    return latest + tick < now_ns


def _place(path: Path) -> Path:
    key = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:32]
    return cache_directory() / "footprints" / f"{key}.json"


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
