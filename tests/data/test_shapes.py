"""Shapes in the plane: where their points lie."""

from __future__ import annotations

import numpy as np
import pytest

from deepdiva.data.bayes import bayes_rule
from deepdiva.data.shapes import SHAPES, Grid, Rings, draw
from deepdiva.errors import UserError

REGIONS = ("diagonal", "circle", "donut", "stripes", "xor", "flag", "checkerboard")


def test_the_numbers_in_the_keys_are_a_promise():
    numbers = {name: shape.number for name, shape in SHAPES.items()}
    assert {name: numbers[name] for name in ("gaussians", "moons", "spirals")} == {
        "gaussians": 0,
        "moons": 1,
        "spirals": 2,
    }
    assert sorted(numbers.values()) == list(range(10))


@pytest.mark.parametrize("name", SHAPES)
def test_a_seed_repeats(name):
    one, again, other = (draw(name, n=50, seed=seed)[0] for seed in (3, 3, 4))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("name", REGIONS)
def test_without_noise_the_rule_finds_every_point(name):
    most = SHAPES[name].most_classes or 5
    for classes in {2, SHAPES[name].classes, most}:
        points, labels = draw(name, n=2000, noise=0.0, classes=classes, seed=1)
        wrong = bayes_rule(name, points, noise=0.0, classes=classes) != labels
        assert wrong.mean() < 2e-3, "but for what rounding carries over a border"
        assert np.ptp(np.bincount(labels)) <= 1


def test_points_lie_evenly_in_their_regions():
    points, labels = draw("checkerboard", n=40_000, noise=0.0)
    for label in (0, 1):
        column, row = np.floor((points[labels == label] + 1) * 2).clip(0, 3).astype(int).T
        counts = np.bincount(4 * column + row, minlength=16)[
            (np.add.outer(np.arange(4), np.arange(4)) % 2 == label).ravel()
        ]
        assert counts.sum() >= 19_990
        assert abs(counts / 2500 - 1).max() < 0.1
    points, labels = draw("circle", n=20_000, noise=0.0, classes=4)
    squares = np.square(points).sum(axis=1)
    for label in range(4):
        inside = squares[labels == label] * 4 - (3 - label)
        assert inside.mean() == pytest.approx(0.5, abs=0.02)
        assert inside.std() == pytest.approx(12**-0.5, abs=0.02)
    points, labels = draw("diagonal", n=20_000, noise=0.0)
    assert np.array_equal(labels == 1, points[:, 1] > points[:, 0])
    assert np.sort(points, axis=1).mean(axis=0) == pytest.approx([-1 / 3, 1 / 3], abs=0.01)


def test_a_flag_has_a_cross_and_a_seam():
    for classes, crossing in ((2, 3), (3, 5)):
        flag = SHAPES["flag"].geometry(classes)
        assert isinstance(flag, Grid)
        assert flag.colours.shape == (crossing, crossing)
        assert flag.colours[crossing // 2].tolist() == [classes - 1] * crossing
        assert flag.colours[0].tolist() == list(range(classes)) + list(range(classes - 1))[::-1]


def test_rings_have_equal_areas():
    rings = SHAPES["circle"].geometry(5)
    assert isinstance(rings, Rings)
    assert np.diff(rings.squares) == pytest.approx([0.2] * 5)
    assert rings.colours.tolist() == [4, 3, 2, 1, 0]


@pytest.mark.parametrize(("name", "classes"), [("xor", 3), ("flag", 4), ("donut", 3), ("stripes", 1)])
def test_numbers_of_classes_that_make_no_sense(name, classes):
    with pytest.raises(UserError, match=f"{name} cannot have {classes} classes") as caught:
        draw(name, n=100, classes=classes)
    assert caught.value.hint in ("it takes exactly 2", "it takes 2 to 3", "it takes 2 or more")
