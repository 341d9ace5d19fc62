from __future__ import annotations

import numpy as np
import pytest

from deepdiva.data import statistics
from deepdiva.data.statistics import (
    class_counts,
    class_weights,
    moments_of_features,
    moments_of_pixels,
    pixel_histogram,
)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(50, 3, 9, 11), dtype=np.uint8)


def test_moments_of_pixels_are_exact(images):
    moments = moments_of_pixels(pixel_histogram(images))
    whole = images.astype(np.float64) / 255
    np.testing.assert_allclose(moments.mean, whole.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(moments.std, whole.std(axis=(0, 2, 3)), rtol=1e-12)


def test_counting_in_pieces_gives_the_same(images, monkeypatch):
    whole = pixel_histogram(images)
    assert whole.sum() == images.size
    monkeypatch.setattr(statistics, "CHUNK_PIXELS", 250)
    assert (pixel_histogram(images) == whole).all()
    assert (pixel_histogram(images[:20]) + pixel_histogram(images[20:]) == whole).all()


def test_a_constant_channel_and_an_empty_set():
    assert moments_of_pixels(pixel_histogram(np.full((2, 1, 2, 2), 255, dtype=np.uint8))) == statistics.Moments(
        (1.0,), (0.0,)
    )
    assert moments_of_pixels(pixel_histogram(np.zeros((0, 1, 2, 2), dtype=np.uint8))).mean == (0.0,)


def test_moments_of_features():
    rows = np.array([[0.0, 10.0], [2.0, 10.0]], dtype=np.float32)
    assert moments_of_features(rows) == statistics.Moments((1.0, 10.0), (1.0, 0.0))


def test_classes_are_counted_and_weighted_to_count_the_same():
    counts = class_counts([0, 0, 0, 2], 4)
    assert counts == (3, 0, 1, 0)
    assert class_weights((3, 1)) == pytest.approx((4 / 6, 2.0))
    assert class_weights(counts)[1] == 0.0
    assert sum(w * c for w, c in zip(class_weights((30, 10, 2)), (30, 10, 2), strict=True)) == pytest.approx(42)
