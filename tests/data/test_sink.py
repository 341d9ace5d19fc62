"""What becomes of decoded images: kept, counted, and given up where the disk refuses."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from deepdiva.data import blocks, cache
from deepdiva.data.arrays import ArraySplits
from deepdiva.data.image_folder import load_image_folder
from deepdiva.data.streaming import Streamed
from deepdiva.errors import UserError


@pytest.mark.parametrize("policy", ["auto", "none"])
def test_gray_images_among_coloured_ones(root: Path, policy: Any, contents: Callable[[ArraySplits], list[Any]]):
    Image.new("RGB", (4, 5), (10, 20, 30)).save(root / "train/b/1.png")
    splits = load_image_folder(root, cache=policy)
    assert splits.train.shape == (3, 5, 4)
    place = list(splits.train.ids).index("train/b/1.png")
    assert splits.train.inputs[place, :, 0, 0].tolist() == [10, 20, 30]
    gray = splits.train.inputs[place - 1]
    assert torch.equal(gray[0], gray[2])
    pixels = splits.train.inputs.double() / 255
    assert splits.statistics["mean"] == pytest.approx(pixels.mean((0, 2, 3)).tolist())
    assert splits.statistics["std"] == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist())
    assert contents(load_image_folder(root, cache=policy)) == contents(splits)


def test_a_cache_that_cannot_be_written_is_no_trouble(root: Path, monkeypatch: pytest.MonkeyPatch):
    writing = os.write
    calls = iter(range(100))

    def fill_up(handle: int, content: memoryview) -> int:
        if next(calls) == 0:
            raise OSError(28, "No space left on device")
        return writing(handle, content)

    monkeypatch.setattr(blocks.os, "write", fill_up)
    assert isinstance(load_image_folder(root).train, Streamed)
    assert not list(cache.directory().glob(".building*"))
    calls = iter(range(100))
    with pytest.raises(UserError, match="No space left"):
        load_image_folder(root, cache="always")
