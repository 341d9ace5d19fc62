"""Small data sets: in their original formats, with a server (see `original_sets.py` beside this file); as images."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deepdiva.data import decode, files
from deepdiva.data.arrays import ArraySplits
from deepdiva.runs.settings import user_file

SPEC = importlib.util.spec_from_file_location("original_sets", Path(__file__).with_name("original_sets.py"))
assert SPEC is not None
assert SPEC.loader is not None
if "original_sets" not in sys.modules:
    original_sets = sys.modules["original_sets"] = importlib.util.module_from_spec(SPEC)
    SPEC.loader.exec_module(original_sets)
site = sys.modules["original_sets"].site
small = sys.modules["original_sets"].small
known = sys.modules["original_sets"].known


SETTLED_SECONDS = 0.06


def write_images(root: Path, *, count: int = 6, size: tuple[int, int] = (5, 4), seed: int = 0) -> Path:
    values = np.random.default_rng(seed)
    for split in ("train", "val", "test"):
        for place in range(count):
            folder = root / split / ("a", "b")[place % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.integers(0, 256, size, dtype=np.uint8)).save(folder / f"{place}.png")
    time.sleep(SETTLED_SECONDS)  # so that their stamps are believed
    return root


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, reading or decoding a file of a data set is an error."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a file was read")

    def begin() -> None:
        monkeypatch.setattr(decode.Decoding, "decode", refuse)
        for name in ("read_file", "hash_file", "_read"):
            monkeypatch.setattr(files, name, refuse)

    return begin


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Gray images of two classes, six in each split."""
    return write_images(tmp_path / "images")


@pytest.fixture
def make_images() -> Callable[..., Path]:
    """Writes more such images elsewhere."""
    return write_images


@pytest.fixture
def contents() -> Callable[[ArraySplits], list[Any]]:
    """All that there is in the splits of a data set, for comparisons."""

    def read(splits: ArraySplits) -> list[Any]:
        assert splits.test is not None
        parts = (splits.train, splits.val, splits.test)
        return [(part.inputs.tolist(), part.targets.tolist(), list(part.ids)) for part in parts] + [splits.statistics]

    return read


@pytest.fixture
def limit_to() -> Callable[[str], None]:
    """Sets the limit of the cache."""

    def write(size: str) -> None:
        user_file().parent.mkdir(parents=True, exist_ok=True)
        user_file().write_text(f'cache_limit = "{size}"\n')

    return write
