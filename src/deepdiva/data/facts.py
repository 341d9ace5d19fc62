"""What is remembered of images that were decoded once: their shape, and how often every level occurs.

Small files in the user's cache, safe to delete; with them a set that is not kept decoded need not be read at the start.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deepdiva.data.manifest import cache_directory, keep_within, replace_file, touch

SCHEMA = 1
MOST = 32
"""Histograms kept for one set: one for every split of it that was trained on."""


@dataclass(frozen=True)
class Facts:
    """What is known of the images of one data set.

    Args:
        shape: (C, H, W) of each.
        histograms: By the digest of the images that were counted, (C, 256).
    """

    shape: tuple[int, int, int]
    histograms: Mapping[str, list[list[int]]]

    def histogram(self, counted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
        """Levels of the images `counted`, if somebody has counted them."""
        found = self.histograms.get(_digest(counted))
        return None if found is None else np.array(found, dtype=np.int64)


def load(key: str) -> Facts | None:
    """What is remembered under `key`; None where there is nothing, or something damaged."""
    try:
        check, _, body = _place(key).read_bytes().partition(b"\n")
        touch(_place(key))
        content = json.loads(body)
        if hashlib.sha256(body).hexdigest().encode() != check or content["schema"] != SCHEMA:
            return None
        channels, height, width = content["shape"]
        return Facts((channels, height, width), content["histograms"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(
    key: str, shape: tuple[int, int, int], counted: npt.NDArray[np.int64], histogram: npt.NDArray[np.int64]
) -> None:
    """Remembers a histogram beside those that are there; a disk that cannot be written is no trouble."""
    before = load(key)
    kept = list(before.histograms.items())[-MOST:] if before is not None and before.shape == shape else []
    histograms = {**dict(kept), _digest(counted): histogram.tolist()}
    body = json.dumps({"schema": SCHEMA, "shape": shape, "histograms": histograms}).encode()
    with suppress(OSError):
        replace_file(_place(key), hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        keep_within(_place(key).parent)


def exists(prefix: str) -> bool:
    """Whether anything is remembered under a key that begins like this."""
    folder = _place("x").parent
    return folder.is_dir() and any(folder.glob(f"{prefix}*"))


def _place(key: str) -> Path:
    return cache_directory() / "facts" / f"{key}.json"


def _digest(counted: npt.NDArray[np.int64]) -> str:
    return hashlib.sha256(np.ascontiguousarray(counted, dtype="<i8").tobytes()).hexdigest()[:32]
