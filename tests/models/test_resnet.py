"""Residual networks, against the published sizes and torchvision's results."""

from __future__ import annotations

import pytest
import torch

from deepdiva.models.resnet import ResNet18, ResNet34, ResNet50


@pytest.mark.parametrize(
    ("network", "parameters"), [(ResNet18, 11_689_512), (ResNet34, 21_797_672), (ResNet50, 25_557_032)]
)
def test_has_the_published_number_of_parameters(network: type[ResNet18 | ResNet34 | ResNet50], parameters: int) -> None:
    with torch.device("meta"):
        model = network(num_classes=1000)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize(
    ("stem", "size"), [("small", (8, 8)), ("small", (33, 20)), ("large", (96, 64)), ("large", (8, 8))]
)
def test_takes_images_of_any_size(stem: str, size: tuple[int, int]) -> None:
    model = ResNet18(num_classes=4, in_channels=1, stem=stem)  # type: ignore[arg-type]
    assert model(torch.zeros(2, 1, *size)).shape == (2, 4)


def test_stem_decides_how_far_an_image_shrinks() -> None:
    image = torch.zeros(1, 3, 64, 64)
    for stem, side in (("small", 64), ("large", 16)):
        model = ResNet18(num_classes=2, stem=stem)  # type: ignore[arg-type]
        assert model.maxpool(model.conv1(image)).shape == (1, 64, side, side)


@pytest.mark.parametrize("network", [ResNet18, ResNet50])
def test_gives_what_torchvision_gives_for_the_same_weights(network: type[ResNet18 | ResNet50]) -> None:
    import torchvision

    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = getattr(torchvision.models, network.__name__.lower())(num_classes=5).eval()
        model = network(num_classes=5).eval()
        model.load_state_dict(reference.state_dict())
        images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(images), reference(images))


def test_gradients_reach_every_parameter_after_one_step() -> None:
    # The last normalisation of a block starts at zero, so the weights before it get gradients from the second step on.
    model = ResNet18(num_classes=3, in_channels=1, stem="small")
    images = torch.linspace(-1, 1, 4 * 64).reshape(4, 1, 8, 8)
    for _ in range(2):
        model.zero_grad()
        model(images).logsumexp(1).sum().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.sub_(parameter.grad, alpha=0.01)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
