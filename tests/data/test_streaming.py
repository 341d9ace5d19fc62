"""Samples that are decoded when they are asked for are those that would have been kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from deepdiva.data import cache
from deepdiva.data.arrays import ArraySplits
from deepdiva.data.image_folder import load_image_folder
from deepdiva.data.streaming import Streamed
from deepdiva.errors import UserError


def test_streamed_samples_are_those_that_would_be_kept(root: Path, contents: Callable[[ArraySplits], list[Any]]):
    streamed, kept = load_image_folder(root, cache="none"), load_image_folder(root)
    assert isinstance(streamed.train, Streamed)
    assert contents(streamed) == contents(kept)
    assert torch.equal(streamed.train[3][0], kept.train[3][0])
    assert torch.equal(streamed.train.batch(torch.tensor([4, 1]))[0], kept.train.inputs[[4, 1]])


def test_a_second_streaming_run_reads_nothing_at_its_start(root: Path, unread: Callable[[], None]):
    statistics = load_image_folder(root, cache="none").statistics
    assert cache.entries() == []
    unread()
    assert load_image_folder(root, cache="none").statistics == statistics


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_processes_decode_to_the_same_batches(root: Path, workers: int):
    from deepdiva.data.augment import RandomShift, augmented
    from deepdiva.engine.loaders import Loader
    from deepdiva.engine.seeding import Streams

    kept, streamed = load_image_folder(root), load_image_folder(root, cache="none")
    for transforms in ([], [RandomShift(1)]):
        found = []
        for splits, processes in ((kept, 0), (streamed, workers)):
            loader = Loader(
                augmented(splits.train, transforms),
                batch_size=4,
                streams=Streams(0),
                device=torch.device("cpu"),
                workers=processes,
                purpose="train",
            )
            found.append(torch.cat([inputs for inputs, _ in loader.batches(1, loader.plan(1))]))
        assert torch.equal(*found)


def test_a_file_that_changes_while_it_is_streamed_is_named(root: Path):
    splits = load_image_folder(root, cache="none")
    Image.new("L", (4, 5), 9).save(root / "train/a/0.png")
    with pytest.raises(UserError, match=r"train/a/0\.png has changed since the run began"):
        splits.train[0]
    (root / "train/a/0.png").unlink()
    with pytest.raises(UserError, match=r"train/a/0\.png cannot be read"):
        splits.train[0]
