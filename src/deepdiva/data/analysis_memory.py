"""Analyses that this machine remembers, by the content that they are of: never out of date, safe to delete."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from deepdiva.data import manifest
from deepdiva.data.analysis import SCHEMA, Analysis
from deepdiva.data.decode import decoder
from deepdiva.data.layout import Layout
from deepdiva.errors import UserError
from deepdiva.runs.storage import Storage


def key_of(root: str, layout: Layout, groups: Sequence[str] | None) -> str:
    """Stands for all that a result depends on: content, division, this version of the analysis, and the decoder."""
    parts = [SCHEMA, decoder(), root, layout.names, layout.labels, layout.splits, groups]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def recall(root: str, key: str) -> Analysis | None:
    """The analysis that was kept under `key`, if there is one."""
    file = _folder() / f"{root[:32]}-{key[:32]}.json"
    found = _read(file)
    if found is not None:
        manifest.touch(file)
    return found


def remember(found: Analysis, key: str) -> None:
    """Keeps a result; a cache that cannot be written is no trouble."""
    body = json.dumps(found.to_mapping(), separators=(",", ":")).encode()
    with suppress(OSError, UserError):
        _folder().mkdir(parents=True, exist_ok=True)
        name = f"{str(found.root)[:32]}-{key[:32]}.json"
        Storage().write(_folder() / name, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        manifest.keep_within(_folder())


def kept() -> list[tuple[Path, os.stat_result]]:
    """The files in which results are kept, the one used last first."""
    found = []
    for file in _folder().glob("*.json"):
        with suppress(OSError):  # another process was quicker to remove it
            found.append((file, file.stat()))
    return sorted(found, key=lambda kept: kept[1].st_mtime, reverse=True)


def clear(*, older_than: float | None = None) -> list[int]:
    """Removes what is remembered; gives the size of each that was removed.

    Args:
        older_than: Seconds since its last use that a result is kept at least; None removes all.
    """
    oldest = math.inf if older_than is None else time.time() - older_than
    chosen = [(file, status.st_size) for file, status in kept() if status.st_mtime <= oldest]
    for file, _ in chosen:
        file.unlink(missing_ok=True)
    return [size for _, size in chosen]


def members_digest(names: Sequence[str]) -> str:
    """Stands for a set of samples."""
    return hashlib.sha256("\0".join(sorted(names)).encode("utf-8", "surrogateescape")).hexdigest()


def _read(file: Path) -> Analysis | None:
    """What is remembered in a file; None where it is missing or damaged."""
    try:
        check, _, body = file.read_bytes().partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != check:
            return None
        content: dict[str, object] = json.loads(body)
        return Analysis.from_mapping(content)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _folder() -> Path:
    return manifest.cache_directory() / "analyses"
