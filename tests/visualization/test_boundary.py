"""The decision surface: where things stand, and input that is extreme."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from deepdiva.visualization.boundary import decision_surface, surface_extent, surface_points
from deepdiva.visualization.palette import class_colours

NOTHING: dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]] = {}


def halves(side: int = 40) -> npt.NDArray[np.float32]:
    """A sure classifier that sees class 0 below and class 1 above."""
    above = (np.arange(side) >= side // 2).astype(np.float32)[:, None].repeat(side, axis=1)
    return np.stack([1 - above, above], axis=2)


def near(pixel: object, colour: npt.NDArray[np.uint8]) -> bool:
    return bool(np.abs(np.asarray(pixel, dtype=int) - colour.astype(int)).max() <= 2)


def test_extent_is_a_square_around_all_points() -> None:
    left, right, bottom, top = surface_extent(np.array([[0.0, 0.0], [4.0, 1.0]]), np.array([[1.0, 2.0], [np.nan, 9.0]]))
    assert right - left == pytest.approx(top - bottom)
    assert left < 0 < 4 < right
    assert bottom < 0 < 2 < top


@pytest.mark.parametrize("points", [np.zeros((0, 2)), np.zeros((1, 2)), np.full((3, 2), 1e6)])
def test_extent_is_never_empty(points: npt.NDArray[np.float64]) -> None:
    left, right, bottom, top = surface_extent(points)
    assert left < right
    assert bottom < top
    decision_surface(halves(), (left, right, bottom, top), NOTHING, ["a", "b"])


def test_questions_start_at_the_lowest_x_and_y() -> None:
    points = surface_points((0.0, 1.0, 10.0, 12.0), side=3)
    assert points.dtype == np.float32
    assert points[[0, 1, 3, 8]].tolist() == [[0, 10], [0.5, 10], [0, 11], [1, 12]]


def test_high_y_is_drawn_above() -> None:
    picture = decision_surface(halves(), (-1, 1, -1, 1), NOTHING, ["below", "above"])
    colours = 0.6 * 255 + 0.4 * class_colours(2).astype(np.float64)
    x = picture.width // 2
    assert near(picture.getpixel((x, 120)), colours[1].astype(np.uint8))
    assert near(picture.getpixel((x, 540)), colours[0].astype(np.uint8))


def test_points_stand_where_they_belong_in_the_colour_of_their_class() -> None:
    points = {"train": (np.array([[0.0, 0.5]]), np.array([0])), "val": (np.array([[0.0, -0.5]]), np.array([1]))}
    without = np.asarray(decision_surface(halves(), (-1, 1, -1, 1), NOTHING, ["a", "b"]), dtype=int)
    with_points = np.asarray(decision_surface(halves(), (-1, 1, -1, 1), points, ["a", "b"]), dtype=int)
    height = min(len(without), len(with_points))
    width = 620
    changed = np.abs(without[:height, :width] - with_points[:height, :width]).sum(axis=2) > 0
    rows = np.flatnonzero(changed.any(axis=1))
    upper = rows[rows < 330].mean()
    lower = rows[rows > 330].mean()
    assert lower - upper == pytest.approx(280, abs=3)
    column = np.flatnonzero(changed.any(axis=0)).mean()
    np.testing.assert_array_equal(with_points[round(upper), round(column)], class_colours(2)[0])
    np.testing.assert_array_equal(with_points[round(lower), round(column)], class_colours(2)[1])


def test_points_outside_are_left_out() -> None:
    far = {"train": (np.array([[50.0, 0.0], [0.0, -50.0], [np.nan, 0.0]]), np.array([0, 1, 0]))}
    decision_surface(halves(), (-1, 1, -1, 1), far, ["a", "b"])


@pytest.mark.parametrize("count", [1, 2, 10, 40, 100])
def test_draws_any_number_of_classes(count: int) -> None:
    shares = np.full((20, 30, count), 1 / count)
    names = [f"Ünïcode name of class {place}" for place in range(count)]
    points = {split: (np.zeros((count, 2)), np.arange(count)) for split in ("train", "val", "test", "more", "and more")}
    picture = decision_surface(shares, (-1, 1, -1, 1), points, names)
    assert 600 <= picture.width <= 900
    assert picture.height == 656


def test_a_network_that_diverged_can_still_be_drawn() -> None:
    decision_surface(np.full((8, 8, 2), np.nan), (-1, 1, -1, 1), NOTHING, ["a", "b"])


def test_probabilities_must_fit_the_classes() -> None:
    with pytest.raises(ValueError, match="do not fit 3 classes"):
        decision_surface(halves(), (-1, 1, -1, 1), NOTHING, ["a", "b", "c"])
