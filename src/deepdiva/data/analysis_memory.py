"""Analyses that this machine remembers, by the content that they are of: never out of date, safe to delete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from deepdiva.data import manifest
from deepdiva.data.analysis import SCHEMA, Analysis
from deepdiva.data.decode import decoder
from deepdiva.data.layout import Layout
from deepdiva.data.statistics import Moments
from deepdiva.errors import UserError
from deepdiva.runs.storage import Storage


def key_of(root: str, layout: Layout, groups: Sequence[str] | None) -> str:
    """Stands for all that a result depends on: content, division, this version of the analysis, and the decoder."""
    parts = [SCHEMA, decoder(), root, layout.names, layout.labels, layout.splits, groups]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def recall(root: str, key: str) -> Analysis | None:
    """The analysis that was kept under `key`, if there is one."""
    return _read(_folder() / f"{root[:32]}-{key[:32]}.json")


def remember(found: Analysis, key: str) -> None:
    """Keeps a result; a cache that cannot be written is no trouble."""
    body = json.dumps(found.to_mapping(), separators=(",", ":")).encode()
    with suppress(OSError, UserError):
        _folder().mkdir(parents=True, exist_ok=True)
        name = f"{str(found.root)[:32]}-{key[:32]}.json"
        Storage().write(_folder() / name, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def moments_of(root: str, names: Sequence[str]) -> Moments | None:
    """Mean and standard deviation of samples as `Decoding()` reads them, where an analysis is remembered.

    There is one number, or three where any image of the analysed set has colours.

    Args:
        root: Root digest of the data set's footprint; so what is remembered cannot be out of date.
        names: The samples, all of one split.
    """
    members = members_digest(names)
    for file in sorted(_folder().glob(f"{root[:32]}-*.json")):
        found = _read(file)
        fits = found is not None and found.root == root and found.decoder == decoder()
        for part in found.parts if found is not None and fits else ():
            if part.members == members:
                return Moments(part.mean, part.std)
    return None


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
