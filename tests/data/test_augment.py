"""What a sample becomes depends on (seed, epoch, index) alone: not on its batch, the processes, or a resume."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from deepdiva.config import Component, Kind, build
from deepdiva.data import pixels
from deepdiva.data.arrays import Arrays
from deepdiva.data.augment import (
    NAMES,
    Augmented,
    RandomAffine,
    RandomCrop,
    RandomErase,
    RandomFlip,
    RandomResizedCrop,
    RandomShift,
    view_matrix,
)
from deepdiva.data.recolour import ColorJitter, RandAugment
from deepdiva.engine.loaders import Loader
from deepdiva.engine.seeding import SampleStreams, Streams
from deepdiva.errors import UserError

N = 23
EVERYTHING: dict[str, Any] = {
    "shift": RandomShift(3),
    "crop": RandomCrop(10, padding=1),
    "resized crop": RandomResizedCrop(9),
    "flip": RandomFlip(),
    "upside down": RandomFlip(vertical=True),
    "affine": RandomAffine(degrees=20, translate=0.1, scale=(0.8, 1.2), shear=10),
    "erase": RandomErase(p=0.7),
    "jitter": ColorJitter(0.4, 0.4, 0.4, 0.1),
    "rand augment": RandAugment(num_ops=3, magnitude=15),
    "torchvision": v2.RandomCrop(9),
}


@cache
def stored(channels: int = 3) -> Arrays:
    values = np.random.default_rng(channels).integers(0, 256, (N, channels, 12, 14), dtype=np.uint8)
    return Arrays(torch.from_numpy(values), torch.arange(N))


def streams(indices: list[int], *, seed: int = 0, epoch: int = 1) -> SampleStreams:
    return SampleStreams(Streams(seed), "train", epoch, np.array(indices, dtype=np.int64))


def digests(images: torch.Tensor) -> list[str]:
    return [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in images]


@cache
def expected(name: str, channels: int, epoch: int, seed: int = 0) -> list[str]:
    """What every sample becomes, when it is drawn alone."""
    samples = Augmented(stored(channels), (EVERYTHING[name],))
    drawn = [samples.draw(torch.tensor([i]), streams([i], seed=seed, epoch=epoch))[0] for i in range(N)]
    return digests(torch.cat(drawn))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", EVERYTHING)
@settings(max_examples=8)
@given(indices=st.lists(st.integers(0, N - 1), min_size=1, max_size=N), epoch=st.integers(1, 3))
def test_a_sample_is_the_same_in_every_batch(name: str, channels: int, indices: list[int], epoch: int):
    samples = Augmented(stored(channels), (EVERYTHING[name],))
    images, targets = samples.draw(torch.tensor(indices), streams(indices, epoch=epoch))
    assert images.dtype == torch.uint8
    assert targets.tolist() == indices
    assert digests(images) == [expected(name, channels, epoch)[index] for index in indices]


@pytest.mark.parametrize("name", EVERYTHING)
def test_epochs_and_seeds_differ(name: str):
    assert expected(name, 3, 1) != expected(name, 3, 2)
    assert expected(name, 3, 1) != expected(name, 3, 1, seed=1)


def loader(transforms: tuple[Any, ...], *, batch_size: int, workers: int) -> Loader:
    samples = Augmented(stored(), transforms, stored().ids)
    device = torch.device("cpu")
    return Loader(samples, batch_size=batch_size, streams=Streams(7), device=device, workers=workers, purpose="train")


@pytest.mark.parametrize(
    "transforms",
    [
        (RandomShift(2), RandomFlip(), ColorJitter(0.3, 0.3)),
        (RandomShift(2), v2.RandomHorizontalFlip(), RandomErase(), v2.ColorJitter(0.2)),
    ],
    ids=["batched", "mixed"],
)
def test_workers_batch_sizes_and_resumes_never_show(transforms: tuple[Any, ...]):
    def by_sample(batch_size: int, workers: int = 0, skip: int = 0) -> dict[int, str]:
        one = loader(transforms, batch_size=batch_size, workers=workers)
        found: dict[int, str] = {}
        for images, targets in one.batches(2, one.plan(2)[skip:]):
            found |= dict(zip(targets.tolist(), digests(images), strict=True))
        return found

    whole = by_sample(5)
    assert len(whole) == N
    assert by_sample(2) == whole
    assert by_sample(N) == whole
    assert by_sample(4, workers=2) == whole
    rest = by_sample(5, skip=2)
    assert len(rest) == N - 10
    assert rest.items() <= whole.items()


def test_threads_never_show():
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            samples = Augmented(stored(), [EVERYTHING[name] for name in EVERYTHING if name != "torchvision"])
            found.append(digests(samples.draw(torch.arange(N), streams(list(range(N))))[0]))
        assert found[0] == found[1]
    finally:
        torch.set_num_threads(before)


def test_what_is_stored_stays_as_it_is():
    before = digests(stored().inputs)
    for transform in EVERYTHING.values():
        Augmented(stored(), (transform,)).draw(torch.arange(N), streams(list(range(N))))
    assert digests(stored().inputs) == before
    assert torch.equal(Augmented(stored(), (RandomShift(),))[3][0], stored()[3][0])


def test_a_transform_does_not_move_the_draws_of_the_next():
    both = Augmented(stored(), (RandomErase(p=0), RandomFlip())).draw(torch.arange(N), streams(list(range(N))))[0]
    other = Augmented(stored(), (RandomShift(0), RandomFlip())).draw(torch.arange(N), streams(list(range(N))))[0]
    assert torch.equal(both, other)
    twice = Augmented(stored(), (RandomFlip(), RandomFlip())).draw(torch.arange(N), streams(list(range(N))))[0]
    assert not torch.equal(twice, stored().inputs)


@pytest.mark.parametrize("name", NAMES)
def test_every_component_is_found_by_its_name(name: str):
    kind = Kind("transform", short=NAMES)
    arguments = {"size": 8} if "crop" in name else {}
    transform = build(kind, Component(name, arguments))
    assert transform.batched
    assert transform(stored().inputs, streams(list(range(N)))).shape[0] == N


def ramp(height: int = 12, width: int = 14) -> torch.Tensor:
    """One image whose values say where they are: 16 · row + column."""
    return torch.from_numpy((np.arange(height)[:, None] * 16 + np.arange(width)).astype(np.uint8))[None, None]


class Fixed:
    """Streams that give the numbers they are told, the same for every sample."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = numbers

    def uniform(self, count: int) -> np.ndarray:
        return np.array([self.numbers[:count]])


def test_shifts_move_by_whole_pixels_and_fill():
    moved = RandomShift(2, fill=9)(ramp(), Fixed(0.0, 0.99))[0, 0]
    assert moved[2:, :-2].tolist() == ramp()[0, 0, :-2, 2:].tolist()
    assert set(moved[:2].flatten().tolist()) | set(moved[:, -2:].flatten().tolist()) == {9}


def test_shifts_are_uniform():
    count = 4000
    images = torch.zeros((count, 1, 5, 5), dtype=torch.uint8)
    images[:, 0, 2, 2] = 1
    moved = RandomShift(2)(images, streams(list(range(count))))
    share = moved.float().mean((0, 1)) * 25
    assert moved.flatten(1).sum(1).eq(1).all()
    assert (share - 1).abs().max() < 0.35


def test_crops_cut():
    cut = RandomCrop(10)(ramp(), Fixed(0.99, 0.5))[0, 0]
    assert cut.tolist() == ramp()[0, 0, 2:12, 2:12].tolist()
    with pytest.raises(ValueError, match="more than the 12 x 14"):
        RandomCrop(13)(ramp(), Fixed(0.5, 0.5))
    large = torch.arange(200 * 200).to(torch.uint8).reshape(1, 1, 200, 200)
    assert torch.equal(RandomCrop(100)(large, Fixed(0.999, 0.0)), large[:, :, 100:, :100])


def test_a_resized_crop_of_the_whole_is_the_whole():
    whole = RandomResizedCrop(12, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    square = ramp(12, 12)
    assert torch.equal(whole(square, Fixed(0.5, 0.5, 0.5, 0.5)), square)
    assert whole(stored().inputs, streams(list(range(N)))).shape == (N, 3, 12, 12)


def test_flips():
    assert torch.equal(RandomFlip(p=1.0)(ramp(), Fixed(0.3)), ramp().flip(3))
    assert torch.equal(RandomFlip(p=1.0, vertical=True)(ramp(), Fixed(0.3)), ramp().flip(2))
    assert torch.equal(RandomFlip(p=0.0)(ramp(), Fixed(0.3)), ramp())


def test_an_affine_map_that_does_nothing_changes_nothing():
    assert torch.equal(RandomAffine()(stored().inputs, streams(list(range(N)))), stored().inputs)
    quarter = pixels.affine(ramp(12, 12).numpy(), view_matrix(degrees=90)[None], fill=0)
    assert np.array_equal(np.rot90(quarter[0, 0]), ramp(12, 12)[0, 0].numpy())


def test_erasing_covers_a_rectangle_of_the_right_size():
    white = torch.full((500, 1, 40, 40), 255, dtype=torch.uint8)
    erased = RandomErase(p=0.5, scale=(0.1, 0.2))(white, streams(list(range(500))))
    shares = (erased == 0).float().mean((1, 2, 3))
    covered = shares[shares > 0]
    assert 0.4 < len(covered) / 500 < 0.6
    assert covered.min() > 0.08
    assert covered.max() < 0.22


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("random_shift", {"pixels": -1}),
        ("random_shift", {"fill": 256}),
        ("random_crop", {"size": 0}),
        ("random_flip", {"p": 1.5}),
        ("random_resized_crop", {"size": 8, "scale": [0.5, 0.2]}),
        ("random_affine", {"shear": 90.0}),
        ("color_jitter", {"hue": 0.7}),
        ("rand_augment", {"magnitude": 31.0}),
    ],
)
def test_arguments_are_checked(name: str, arguments: dict[str, Any]):
    with pytest.raises(UserError, match="must be"):
        build(Kind("transform", short=NAMES), Component(name, arguments))
