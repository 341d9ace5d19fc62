"""The arithmetic agrees with that of torch and torchvision, within one level of rounding."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from deepdiva.data import pixels
from deepdiva.data.augment import view_matrix


@cache
def stored() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).integers(0, 256, (23, 3, 12, 14), dtype=np.uint8))


@pytest.mark.parametrize("fill", [0, 200])
def test_affine_maps_agree_with_torch(fill: int):
    images = stored()[:4]
    matrix = view_matrix(degrees=25, shear=10, scale=1.2, across=1.5, down=-0.75)
    ours = pixels.affine(images.numpy(), np.stack([matrix] * 4), fill=fill)
    height, width = images.shape[2:]
    # torch counts from -1 to 1 over the image's edges.
    unit = np.diag([width / 2, height / 2, 1.0])
    theta = (np.linalg.inv(unit) @ np.vstack([matrix, [0, 0, 1]]) @ unit)[:2]
    grid = torch.nn.functional.affine_grid(torch.tensor(np.stack([theta] * 4)), list(images.shape), align_corners=False)
    theirs = torch.nn.functional.grid_sample(images.double() - fill, grid, align_corners=False) + fill
    assert np.abs(ours - theirs.numpy()).max() <= 0.51


def test_a_crop_is_the_same_by_either_way(monkeypatch: pytest.MonkeyPatch):
    images, corner = stored().numpy(), np.arange(23) % 3
    by_windows = pixels.crops(images, corner, corner[::-1], 9, 10)
    monkeypatch.setattr(pixels, "BLOCK", 8)
    assert np.array_equal(pixels.crops(images, corner, corner[::-1], 9, 10), by_windows)
    assert np.array_equal(by_windows[1], images[1, :, 1:10, 0:10])


def test_blocks_never_show(monkeypatch: pytest.MonkeyPatch):
    matrices = np.stack([view_matrix(degrees=7 * place) for place in range(23)])
    whole = pixels.affine(stored().numpy(), matrices, fill=3)
    monkeypatch.setattr(pixels, "BLOCK", 8)
    assert np.array_equal(pixels.affine(stored().numpy(), matrices, fill=3), whole)


def test_mean_gray_is_exact():
    images = stored().numpy()
    weights = np.array(pixels.LUMA)[:, None, None] / 65536
    assert pixels.mean_gray(images) == pytest.approx((images * weights).sum(1).mean((1, 2)), abs=1e-9)
    assert pixels.mean_gray(images[:, :1]) == pytest.approx(images[:, 0].mean((1, 2)), abs=1e-9)


def test_tables_and_histograms():
    images = stored().numpy()
    inverse = np.tile(np.arange(255, -1, -1, dtype=np.uint8), (23, 1))
    assert np.array_equal(pixels.looked_up(images, inverse), 255 - images)
    counts = pixels.histograms(images)
    assert counts.shape == (23, 3, 256)
    assert counts[4, 2, 7] == (images[4, 2] == 7).sum()
    assert pixels.smoothed(images[:, :, :2]).shape == (23, 3, 2, 14)
