"""The moving average: against a computation by hand, with buffers of every type, and continued to the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from deepdiva.engine.average import Average
from deepdiva.errors import UserErrors


class Network(nn.Module):
    """Weights of two types and buffers of three, one parameter under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = self.first
        self.norm = nn.BatchNorm1d(3)
        self.phase = nn.Parameter(torch.ones(2, dtype=torch.complex64))
        self.mask: Tensor
        self.register_buffer("mask", torch.tensor([True, False]))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.norm(self.second(self.first(inputs)))  # type: ignore[no-any-return]


def trembled(model: Network, number: int) -> None:
    """What a step does to a model."""
    generator = torch.Generator().manual_seed(number)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
        model.mask.logical_not_()
    model.train()(torch.randn(8, 3, generator=generator))


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_the_average_is_that_of_the_formula(decay: float):
    model = Network()
    average = Average(model, decay)
    expected: dict[str, Tensor] = {}
    for number in range(6):
        trembled(model, number)
        average.update(model)
        for name, value in model.state_dict().items():
            if not (value.is_floating_point() or value.is_complex()):
                expected[name] = value.clone()
                continue
            wide = value.to(torch.complex128 if value.is_complex() else torch.float64)
            expected[name] = wide.clone() if number == 0 else decay * expected[name] + (1 - decay) * wide
    found = average.model.state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.to(found[name].dtype), rtol=1e-5, atol=1e-6)


def test_the_model_itself_is_left_alone_and_the_average_is_a_whole_model():
    model = Network()
    average = Average(model, 0.9)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    average.update(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    trembled(model, 0)
    average.update(model)
    assert average.model.get_parameter("second.weight") is average.model.get_parameter("first.weight")
    inputs = torch.randn(4, 3)
    assert not torch.equal(average.model.eval()(inputs), model.eval()(inputs))


def test_it_goes_on_to_the_same_bits():
    whole_model, other_model = Network(), Network()
    whole, other = Average(whole_model, 0.9), Average(other_model, 0.9)
    for number in range(3):
        trembled(whole_model, number)
        whole.update(whole_model)
    other_model.load_state_dict(whole_model.state_dict())
    other.load_state_dict(whole.state_dict(), "here")
    for number in range(3, 6):
        for model, average in ((whole_model, whole), (other_model, other)):
            trembled(model, number)
            average.update(model)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(other.model.state_dict()[name], value), name


def test_the_average_of_another_model_is_refused(tmp_path: Path):
    with pytest.raises(UserErrors, match="weights of elsewhere do not fit"):
        Average(Network(), 0.9).load_state_dict({"model": nn.Linear(2, 2).state_dict(), "steps": 1}, "elsewhere")
