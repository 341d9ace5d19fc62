"""Streams: equal for equal keys, unrelated otherwise, and never moved by what else is drawn."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepdiva.engine.seeding import Streams, draw_seed, key, permutation

seeds = st.integers(0, 2**63 - 1)
keys = st.integers(0, 2**64 - 1)


def draws() -> tuple[list[float], list[float], list[float]]:
    return torch.rand(4).tolist(), np.random.rand(4).tolist(), [random.random() for _ in range(4)]


@given(seeds, st.text(max_size=4), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3))
def test_a_key_is_a_function_of_its_parts(seed: int, purpose: str, position: list[int]):
    assert key(seed, purpose, *position) == key(seed, purpose, *position)
    assert 0 <= key(seed, purpose, *position) < 2**64


@given(seeds, st.integers(0, 10**6), st.integers(0, 10**6))
def test_keys_differ_in_every_part(seed: int, epoch: int, index: int):
    near = [
        key(seed, "sample:train", epoch, index),
        key((seed + 1) % 2**63, "sample:train", epoch, index),
        key(seed, "sample:val", epoch, index),
        key(seed, "sample:train", epoch + 1, index),
        key(seed, "sample:train", epoch, index + 1),
        key(seed, "sample:train", epoch),
    ]
    assert len(set(near)) == len(near)


@given(seeds, st.lists(st.tuples(st.sampled_from(["order", "step"]), st.integers(0, 99)), max_size=5))
def test_the_streams_of_a_run_have_these_keys_however_often_they_are_asked(seed: int, asked: list[tuple[str, int]]):
    streams = Streams(seed)
    assert [streams.key(*words) for words in asked] == [key(seed, *words) for words in asked]


def test_keys_stay_what_they_are():
    # A run must be repeatable with a later version: a change here is a change of every experiment.
    assert key(0, "order", 1) == 0xAAB5EF753D864147
    assert key(2**63 - 1, "sample:train", 3, 7) == 0xF2E4B684926CBA9B
    assert permutation(0, 8).tolist() == [2, 4, 6, 5, 1, 7, 0, 3]
    assert permutation(2**64 - 1, 8).tolist() == [2, 7, 3, 4, 5, 0, 1, 6]


def test_a_purpose_that_would_be_cut_short_is_refused():
    with pytest.raises(ValueError, match="16 bytes"):
        key(0, "a purpose of more than sixteen bytes")


@given(keys, st.integers(0, 300))
def test_a_permutation_holds_every_index_once(stream: int, length: int):
    found = permutation(stream, length)
    assert found.dtype == np.int64
    assert sorted(found.tolist()) == list(range(length))
    assert (permutation(stream, length) == found).all()


def test_permutations_are_fair():
    # Where sample 0 lands over 2,000 streams: each of 10 places 200 times, give or take four deviations.
    places = [int(np.flatnonzero(permutation(key(0, "order", epoch), 10) == 0)[0]) for epoch in range(2000)]
    counts = np.bincount(places, minlength=10)
    assert abs(counts - 200).max() < 4 * np.sqrt(200 * 0.9)


def test_every_generator_starts_anew_with_its_stream():
    streams = Streams(3)
    streams.seed_globals("step", 5)
    first = draws()
    streams.seed_globals("step", 6)
    other = draws()
    torch.rand(100)
    streams.seed_globals("step", 5)
    assert draws() == first
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_torch_and_numpy_do_not_draw_the_same_numbers():
    # Both are the Mersenne Twister with 32 bits of seed: from one seed they give one sequence.
    streams = Streams(0)
    streams.seed_globals("sample:train", 1, 0)
    ours = set(torch.randint(0, 2**32, (64,)).tolist())
    streams.seed_globals("sample:train", 1, 0)
    theirs = set(np.random.randint(0, 2**32, 64, dtype=np.uint32).tolist())
    assert not ours & theirs


@given(seeds)
def test_streams_of_two_seeds_differ(seed: int):
    Streams(seed).seed_globals("initialisation")
    one = draws()
    Streams((seed + 1) % 2**63).seed_globals("initialisation")
    assert one != draws()


def test_zero_is_a_seed():
    Streams(0).seed_globals("initialisation")
    zero = draws()
    Streams(1).seed_globals("initialisation")
    assert zero != draws()
    assert Streams(0).seed == 0


def test_drawn_seeds_are_short_and_differ():
    drawn = {draw_seed() for _ in range(20)}
    assert len(drawn) > 18
    assert all(0 <= seed < 2**32 for seed in drawn)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_generator_of_the_device_is_seeded_too():
    streams = Streams(0, torch.device("cuda"))
    streams.seed_globals("step", 1)
    first = torch.rand(4, device="cuda")
    streams.seed_globals("step", 1)
    assert torch.equal(first, torch.rand(4, device="cuda"))
