"""The text of a tensor tells every bit and layout from another, and memory is followed to who wrote it."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from deepdiva.engine.tensor_origins import Origins, State, text_of
from deepdiva.runs.operations import DATA

HOST = torch.arange(6.0).reshape(2, 3)


def test_the_text_shows_device_type_shape_and_sixteen_digits_of_sha256():
    numbers = np.arange(6, dtype="<f4").reshape(2, 3)
    one, other = (hashlib.sha256(array.tobytes()).hexdigest()[:16] for array in (numbers, numbers.T))
    assert text_of(HOST) == f"cpu float32[2, 3] {one}"
    assert text_of(HOST.t()) == f"cpu float32[3, 2] strides [1, 3] {other}"
    assert text_of(HOST, content=False) == "cpu float32[2, 3]"


def test_whatever_differs_is_seen():
    swapped = HOST.flip(1)
    others = [
        HOST,
        HOST + 2**-23,
        swapped,
        -HOST,
        HOST.double(),
        HOST.reshape(3, 2),
        HOST.reshape(6),
        HOST.t(),
        HOST.t().contiguous(),
        HOST[:0],
        HOST[:1],
    ]
    assert len({text_of(tensor) for tensor in others}) == len(others)


KINDS = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]


@pytest.mark.parametrize("dtype", [*KINDS, torch.complex64], ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 0), (3, 4)], ids=str)
def test_every_type_and_shape_has_a_text(dtype: torch.dtype, shape: tuple[int, ...]):
    tensor = torch.ones(shape, dtype=dtype)
    assert text_of(tensor) == text_of(tensor.clone())
    if tensor.numel():
        assert text_of(tensor) != text_of(torch.zeros(shape, dtype=dtype))


def test_layouts_that_need_care():
    one = torch.tensor(2.0).expand(1)  # a single element with a stride of 0
    assert text_of(one).split()[-1] == text_of(torch.tensor([2.0])).split()[-1]
    wide = torch.arange(3.0)[:, None].expand(3, 1000)
    assert text_of(wide) != text_of((torch.arange(3.0)[:, None] + 1).expand(3, 1000))
    turned = torch.tensor([1 + 2j])
    assert text_of(turned.conj()) == text_of(turned.conj().resolve_conj())
    assert text_of(turned.imag) != text_of(turned.conj().imag)
    sparse = torch.eye(3).to_sparse()
    assert text_of(sparse) != text_of((2 * torch.eye(3)).to_sparse())
    assert text_of(torch.empty(2, device="meta")) == "meta float32[2] unread"
    assert text_of(torch.nn.Parameter(HOST)) == text_of(HOST)


def test_memory_belongs_to_the_last_who_wrote_it_through_all_views():
    origins, tensor = Origins(), torch.zeros(4, 4)
    assert origins.of(tensor) == DATA
    assert not origins.is_known(tensor)
    origins.set(tensor, "parameter w")
    assert origins.of(tensor.t()[1:]) == "parameter w"
    origins.set(tensor[0], "operation 3")
    assert origins.of(tensor) == "operation 3"
    assert origins.of(tensor.clone()) == DATA


def test_memory_that_was_only_allocated_is_told_until_all_of_it_is_written():
    origins, tensor = Origins(), torch.empty(4)
    origins.set(tensor, "operation 0", State.BLANK)
    assert origins.state(tensor[1:]) is State.BLANK
    assert origins.of(tensor) == "uninitialised memory of operation 0"
    origins.set(tensor[:2], "operation 1")
    assert origins.state(tensor) is State.BLANK
    origins.set(tensor, "operation 2")
    assert origins.state(tensor) is State.WRITTEN
    assert origins.of(tensor) == "operation 2"


def test_a_tensor_that_takes_the_place_of_a_freed_one_is_not_taken_for_it():
    origins, places = Origins(), set()
    for _ in range(50):
        tensor = torch.zeros(1000)
        places.add(tensor.data_ptr())
        assert origins.of(tensor) == DATA
        origins.set(tensor, "operation 0")
        del tensor
    assert len(places) < 50, "the memory itself must be free to be used again"


def test_a_tensor_without_memory_of_its_own_is_data():
    origins, sparse = Origins(), torch.eye(3).to_sparse()
    origins.set(sparse, "operation 0")
    assert origins.of(sparse) == DATA
    assert origins.state(sparse) is State.WRITTEN
