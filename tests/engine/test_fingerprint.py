"""Digests see every bit of a state, and nothing but the state."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from deepdiva.engine.fingerprint import StepDigest, batch_digest, loss_bits, state_digest, step_digest


def value(digest: StepDigest) -> list[int]:
    found = digest()
    return found.tolist() if isinstance(found, torch.Tensor) else list(map(int, found))


def test_the_digest_of_a_state_is_sha256_and_stays_what_it_is():
    state = {"weight": torch.arange(6.0).reshape(2, 3), "step": 3, "rates": [0.1, 0.2], "name": None}
    assert state_digest(state) == "b02273a33e5c0ec4f0da4c6fe648d6f0cf34d33d30a976adaaa5cfd1bd3e33e3"


def test_the_order_of_names_does_not_matter_but_everything_else_does():
    one, two = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    digest = state_digest({"a": one, "b": two})
    assert state_digest({"b": two, "a": one}) == digest
    others = [
        {"a": two, "b": one},
        {"a": one, "c": two},
        {"a": one.double(), "b": two},
        {"a": one.reshape(1, 2), "b": two},
        {"a": torch.tensor([1.0, math.nextafter(2.0, 3.0)]).double().float(), "b": two + 2**-21},
        {"a": one, "b": two.flip(0)},
        {"a": one},
    ]
    assert len({digest, *map(state_digest, others)}) == len(others) + 1


def test_zero_and_minus_zero_are_not_the_same_bits():
    assert state_digest({"a": torch.tensor(0.0)}) != state_digest({"a": torch.tensor(-0.0)})


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.bool, torch.complex64]
)
def test_every_type_of_tensor_has_a_digest(dtype: torch.dtype):
    tensor = torch.tensor([[1, 0], [1, 1]]).to(dtype)
    assert state_digest({"a": tensor}) == state_digest({"a": tensor.t().contiguous().t()})
    assert state_digest({"a": tensor}) != state_digest({"a": tensor.t().contiguous()})
    assert state_digest({"a": tensor[:0]}) != state_digest({"a": tensor})


def test_a_state_read_back_as_lists_has_the_same_digest():
    assert state_digest({"betas": (0.9, 0.99), 0: 1}) == state_digest({"betas": [0.9, 0.99], 0: 1})


@given(st.lists(st.integers(0, 2**40), min_size=2, max_size=20, unique=True))
def test_the_digest_of_a_batch_sees_the_order(indices: list[int]):
    plan = np.array(indices, dtype=np.int64)
    assert batch_digest([plan]) == batch_digest([plan[:1], plan[1:]])
    assert batch_digest([plan]) != batch_digest([plan[::-1].copy()])
    assert len(batch_digest([plan])) == 16


@given(st.floats())
def test_the_bits_of_a_loss_read_back(loss: float):
    (again,) = struct.unpack(">d", bytes.fromhex(loss_bits(loss)))
    assert again == loss or (math.isnan(again) and math.isnan(loss))


@pytest.mark.parametrize("width", [8, 300])
def test_the_step_digest_sees_a_change_of_one_bit(width: int):
    model = nn.Sequential(nn.Linear(width, width), nn.Linear(width, 2))
    digest = StepDigest(model)
    before = value(digest)
    assert before == value(digest)
    with torch.no_grad():
        model[1].bias[0] = torch.nextafter(model[1].bias[0], torch.tensor(9.0))
    assert before != value(digest)


def test_the_step_digest_of_two_equal_models_is_equal():
    torch.manual_seed(0)
    one = nn.Linear(4, 4)
    other = nn.Linear(4, 4)
    other.load_state_dict(one.state_dict())
    assert value(StepDigest(one)) == value(StepDigest(other))


def test_the_step_digest_follows_parameters_that_are_changed_in_place():
    model = nn.Linear(3, 3)
    digest = StepDigest(model)
    before = value(digest)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert before != value(digest)
    model.load_state_dict(nn.Linear(3, 3).state_dict())
    assert before != value(digest)


def test_models_of_every_shape_have_a_step_digest():
    odd = nn.Module()
    odd.spectrum = nn.Parameter(torch.ones(3, dtype=torch.complex64))
    odd.empty = nn.Parameter(torch.empty(0))
    odd.coarse = nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    before = value(StepDigest(odd))
    assert len(before) == 2
    odd.spectrum.data[0] = 2j
    assert before != value(StepDigest(odd))
    assert value(StepDigest(nn.ReLU())) == []
    transposed = nn.Module()
    transposed.weight = nn.Parameter(torch.arange(6.0).reshape(2, 3).t())
    assert len(value(StepDigest(transposed))) == 1


def test_numbers_of_the_step_digest_become_one_short_text():
    assert len(step_digest([])) == len(step_digest([1, 2**64 - 1])) == 16
    assert len({step_digest([]), step_digest([0]), step_digest([1, 2]), step_digest([2, 1])}) == 4


def test_what_the_cheap_digest_cannot_see_the_sha_does():
    model = nn.Linear(4, 1, bias=False)
    model.weight.data = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    cheap, sure = value(StepDigest(model)), state_digest(model.state_dict())
    model.weight.data = torch.tensor([[3.0, 4.0, 1.0, 2.0]])
    assert value(StepDigest(model)) == cheap
    assert state_digest(model.state_dict()) != sure
