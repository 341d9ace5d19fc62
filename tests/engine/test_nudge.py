"""One-ulp perturbations: neighbours only, repeatable, unlike one another, and nothing else is touched."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deepdiva.engine.nudge import nudge
from deepdiva.engine.seeding import Streams, key


class Holder(nn.Module):
    def __init__(self, values: torch.Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values, requires_grad=values.is_floating_point())


def nudged(values: torch.Tensor, number: int = 0, seed: int = 0) -> torch.Tensor:
    holder = Holder(values.clone())
    nudge(holder, key(seed, "nudge", number))
    return holder.values.detach()


def network() -> nn.Module:
    Streams(0).seed_globals("initialisation")
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_every_element_is_a_neighbour_of_what_it_was(dtype: torch.dtype):
    before = torch.randn(3000, generator=torch.Generator().manual_seed(0)).to(dtype)
    after = nudged(before)
    wide = before.double()
    # The distance to the next float of the same binade, or of the one below where a power of two moves down.
    ulp = torch.finfo(dtype).eps * 2.0 ** torch.floor(torch.log2(wide.abs()))
    distance = (after.double() - wide).abs()
    assert ((distance == 0) | (distance == ulp) | (distance == ulp / 2)).all()
    ups, downs = int((after > before).sum()), int((after < before).sum())
    assert 850 < ups < 1150
    assert 850 < downs < 1150


def test_float32_neighbours_are_those_of_nextafter():
    before = torch.randn(500, generator=torch.Generator().manual_seed(1))
    after = nudged(before)
    infinity = torch.tensor(float("inf"))
    neighbours = torch.stack([before, torch.nextafter(before, infinity), torch.nextafter(before, -infinity)])
    assert (after == neighbours).any(dim=0).all()


@pytest.mark.parametrize("value", [0.0, -0.0, float("inf"), float("-inf"), float("nan")], ids=str)
def test_what_has_no_ordinary_neighbour_stays(value: float):
    before = torch.full((60,), value)
    assert torch.equal(nudged(before).view(torch.int32), before.view(torch.int32))


def test_nothing_becomes_infinite():
    largest = torch.finfo(torch.float32).max
    assert torch.isfinite(nudged(torch.full((60,), largest))).all()


def test_a_perturbation_depends_on_seed_and_number_alone():
    before = torch.ones(200)
    first = nudged(before)
    torch.rand(7)
    assert torch.equal(nudged(before), first)
    assert not torch.equal(nudged(before, number=1), first)
    assert not torch.equal(nudged(before, seed=1), first)


def test_parameters_move_and_buffers_stay():
    before, after = network(), network()
    nudge(after, key(0, "nudge", 1))
    for one, other in zip(before.buffers(), after.buffers(), strict=True):
        assert torch.equal(one, other)
    pairs = zip(before.named_parameters(), after.parameters(), strict=True)
    moved = [name for (name, one), other in pairs if not torch.equal(one, other)]
    assert moved == ["0.weight", "0.bias", "1.weight", "3.weight", "3.bias"]  # 1.bias is zero


def test_two_equal_layers_move_differently():
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    nn.init.ones_(model[0].weight)
    nn.init.ones_(model[1].weight)
    nudge(model, key(0, "nudge", 0))
    assert not torch.equal(model[0].weight, model[1].weight)


def test_whole_numbers_stay_and_complex_parts_move():
    assert torch.equal(nudged(torch.arange(5)), torch.arange(5))
    before = torch.randn(50, dtype=torch.complex64, generator=torch.Generator().manual_seed(2))
    after = nudged(before)
    assert not torch.equal(after, before)
    assert torch.allclose(after, before, rtol=1e-6)


def test_a_layout_in_memory_that_is_not_the_usual_one_is_kept():
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    usual = nn.Conv2d(3, 4, 3)
    usual.load_state_dict(model.state_dict())
    nudge(model, key(0, "nudge", 0))
    nudge(usual, key(0, "nudge", 0))
    assert model.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(model.weight, usual.weight)
