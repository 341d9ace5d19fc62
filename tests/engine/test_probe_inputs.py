"""The inputs of the probes are the same numbers everywhere."""

from __future__ import annotations

import pytest
import torch

from deepdiva.engine.fingerprint import state_digest
from deepdiva.engine.probe_inputs import Numbers, short_name, with_gradients

NUMBERS = Numbers(torch.device("cpu"))


def test_the_numbers_stay_what_they_are():
    values = NUMBERS(3, 5)
    assert state_digest({"values": values}) == "c3d0ec8b4ed54606f0c7e3d02c945b973bd4e8b5333fb355100ac89fe473788d"
    assert torch.equal(values, NUMBERS(3, 5))
    assert not torch.equal(values.reshape(-1), NUMBERS(15))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_they_lie_in_the_range_that_was_asked_for(dtype: torch.dtype):
    values = NUMBERS(1000, low=2.0, high=3.0, dtype=dtype)
    assert values.dtype == dtype
    assert 2.0 <= values.min() < 2.01
    assert 2.99 < values.max() <= 3.0


def test_whole_numbers_stay_below_their_limit():
    values = NUMBERS.integers(1000, below=7)
    assert values.dtype == torch.int64
    assert values.unique().tolist() == list(range(7))


def test_gradients_are_those_of_a_weighted_sum():
    inputs = torch.tensor([1.0, 2.0, 3.0])
    output, (gradient,) = with_gradients(lambda t: t**2, inputs)
    assert torch.equal(output, inputs**2)
    assert torch.equal(gradient, 2 * inputs * torch.tensor([-1.0, 0.0, 1.0]))
    assert not inputs.requires_grad


def test_a_module_is_filled_without_a_generator():
    before = torch.get_rng_state()
    layer = NUMBERS.fill(torch.nn.Linear(4, 3, device="meta").to_empty(device="cpu"))
    assert layer.weight.abs().max() <= 0.3
    assert torch.equal(torch.get_rng_state(), before)


def test_types_have_short_names():
    assert short_name(torch.bfloat16) == "bfloat16"
