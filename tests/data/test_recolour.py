"""Changes of colour do what those of torchvision do where they mean the same."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torchvision.transforms import v2

from deepdiva.data import recolour
from deepdiva.data.recolour import ColorJitter


@cache
def stored() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).integers(0, 256, (23, 3, 12, 14), dtype=np.uint8))


class Fixed:
    """Streams that give the numbers they are told, the same for every sample."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = numbers

    def uniform(self, count: int) -> np.ndarray:
        return np.array([self.numbers[:count]])


def test_jitter_agrees_with_torchvision_where_they_mean_the_same():
    images = stored()[:1]
    for ours, theirs in (
        (ColorJitter(brightness=0.5), v2.functional.adjust_brightness),
        (ColorJitter(contrast=0.5), v2.functional.adjust_contrast),
        (ColorJitter(saturation=0.5), v2.functional.adjust_saturation),
    ):
        found = ours(images, Fixed(0.8, 0.8, 0.8, 0.5)).int()
        wanted = theirs(images, 1.3).int()
        assert (found - wanted).abs().max() <= 2
    same = ColorJitter(hue=0.5)(images, Fixed(0.5, 0.5, 0.5, 0.5))
    assert torch.equal(same, images)
    gray = images[:, :1].expand(-1, 3, -1, -1).contiguous()
    assert (ColorJitter(hue=0.5)(gray, Fixed(0.5, 0.5, 0.5, 0.9)).int() - gray.int()).abs().max() <= 1


def test_the_changes_of_rand_augment_agree_with_torchvision():
    images = stored()[:3]
    values, ones = images.numpy(), np.ones(3)
    checks = [
        (recolour._posterize(values, 1.0, ones, 0), v2.functional.posterize(images, 4), 0),
        (recolour._solarize(values, 0.5, ones, 0), v2.functional.solarize(images, 128), 0),
        (recolour._autocontrast(values // 2 + 20, 0, ones, 0), v2.functional.autocontrast(images // 2 + 20), 1),
        (recolour._equalize(values, 0, ones, 0), v2.functional.equalize(images), 0),
        (recolour._sharpness(values, 1 / 3, ones, 0), v2.functional.adjust_sharpness(images, 1.3), 1),
    ]
    for ours, theirs, tolerance in checks:
        assert np.abs(ours.astype(int) - theirs.numpy().astype(int)).max() <= tolerance
    flat = np.full((1, 1, 5, 5), 77, dtype=np.uint8)
    assert np.array_equal(recolour._equalize(flat, 0, ones[:1], 0), flat)
    assert np.array_equal(recolour._autocontrast(flat, 0, ones[:1], 0), flat)
