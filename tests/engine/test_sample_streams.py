"""A sample's numbers depend on (seed, purpose, epoch, index, component, draws before) alone, and look random."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepdiva.engine.seeding import SampleStreams, Streams

seeds = st.integers(0, 2**63 - 1)


def streams(indices: list[int] | np.ndarray, *, seed: int = 0, purpose: str = "train", epoch: int = 0) -> SampleStreams:
    return SampleStreams(Streams(seed), purpose, epoch, np.asarray(indices, dtype=np.int64))


@given(seeds, st.integers(0, 2**31), st.lists(st.integers(0, 2**40), min_size=1, max_size=9), st.integers(1, 9))
def test_a_sample_does_not_see_its_batch(seed: int, epoch: int, indices: list[int], count: int):
    together = streams(indices, seed=seed, epoch=epoch).uniform(count)
    alone = [streams([index], seed=seed, epoch=epoch).uniform(count)[0] for index in indices]
    assert together.shape == (len(indices), count)
    assert np.array_equal(together, np.stack(alone))
    assert ((together >= 0) & (together < 1)).all()


def test_numbers_go_on_where_they_ended():
    whole, parts = streams([3, 4]), streams([3, 4])
    assert np.array_equal(whole.uniform(5), np.hstack([parts.uniform(2), parts.uniform(3)]))
    rest = parts.part(np.array([1]))
    assert np.array_equal(rest.uniform(2)[0], parts.uniform(2)[1])


def test_everything_that_names_a_stream_counts():
    numbers = [
        streams([0]).uniform(1),
        streams([1]).uniform(1),
        streams([0], seed=1).uniform(1),
        streams([0], epoch=1).uniform(1),
        streams([0], purpose="val").uniform(1),
        streams([0]).component(0).uniform(1),
        streams([0]).component(1).uniform(1),
        streams([0]).component(0).component(0).uniform(1),
    ]
    assert len(np.unique(np.concatenate(numbers))) == len(numbers)


def test_the_numbers_are_these():
    # Written down, since no later version may give others.
    found = streams([0, 1], seed=42).uniform(2)
    assert [[value.hex() for value in row] for row in found.tolist()] == KNOWN


KNOWN = [
    ["0x1.a70224daf930ap-1", "0x1.17cbf2c3dca94p-3"],
    ["0x1.d1ca6064b0010p-5", "0x1.7b12f920eb240p-1"],
]


@pytest.mark.parametrize("axis", ["samples", "draws", "epochs", "components"])
def test_the_numbers_look_random(axis: str):
    count = 20_000
    if axis == "samples":
        found = streams(np.arange(count)).uniform(1)[:, 0]
    elif axis == "draws":
        found = streams([5]).uniform(count)[0]
    elif axis == "epochs":
        found = np.array([streams([5], epoch=epoch).uniform(1)[0, 0] for epoch in range(count // 10)])
    else:
        found = np.array([streams([5]).component(place).uniform(1)[0, 0] for place in range(count // 10)])
    bins = np.bincount((found * 16).astype(int), minlength=16)
    share = len(found) / 16
    assert ((bins - share) ** 2 / share).sum() < 45  # chi-square with 15 degrees of freedom: 1 in 10,000
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 4 / np.sqrt(len(found))


def test_global_generators_get_the_sample_s_own_stream():
    import torch

    streams([7, 8], epoch=2).seed_globals(1)
    one = torch.rand(1)
    Streams(0).seed_globals("sample:train", 2, 8)
    assert torch.equal(torch.rand(1), one)
