"""The small convolutional network: sizes, gradients, equal seeds."""

from __future__ import annotations

import pytest
import torch

from deepdiva.models.cnn import CNN


@pytest.mark.parametrize("size", [(4, 4), (8, 8), (28, 28), (33, 47), (64, 64), (224, 224)])
def test_takes_images_of_any_size(size: tuple[int, int]) -> None:
    model = CNN(num_classes=7, in_channels=3, width=4)
    assert model(torch.zeros(2, 3, *size)).shape == (2, 7)


def test_features_are_what_the_classifier_reads() -> None:
    model = CNN(num_classes=5, width=8).eval()
    images = torch.arange(2 * 64, dtype=torch.float32).reshape(2, 1, 8, 8)
    features = model.features(images)
    assert features.shape == (2, 32)
    torch.testing.assert_close(model.classifier(features), model(images))


def test_gradients_reach_every_parameter_under_deterministic_algorithms() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        model = CNN(num_classes=3, width=4)
        model(torch.linspace(-1, 1, 4 * 64).reshape(4, 1, 8, 8)).square().sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_equal_seeds_build_equal_networks() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(0)
        states.append(CNN(num_classes=3, width=4).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
