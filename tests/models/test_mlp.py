"""The network of fully connected layers: shapes, gradients, options."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deepdiva.models.mlp import MLP


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "tanh"])
def test_shape_and_gradients(activation: str) -> None:
    model = MLP(2, 3, hidden=(8, 4), activation=activation)  # type: ignore[arg-type]
    inputs = torch.linspace(-1, 1, 10).reshape(5, 2)
    scores = model(inputs)
    assert scores.shape == (5, 3)
    assert model.features(inputs).shape == (5, 4)
    scores.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_flattens_images() -> None:
    assert MLP(3 * 4 * 4, 2)(torch.zeros(5, 3, 4, 4)).shape == (5, 2)


def test_no_hidden_layer_is_a_linear_classifier() -> None:
    assert [tuple(weights.shape) for weights in MLP(6, 2, hidden=()).parameters()] == [(2, 6), (2,)]


def test_dropout_follows_every_hidden_layer_only_when_asked() -> None:
    def count(model: nn.Module) -> int:
        return sum(isinstance(module, nn.Dropout) for module in model.modules())

    assert count(MLP(2, 2)) == 0
    assert count(MLP(2, 2, hidden=(4, 4), dropout=0.5)) == 2
