"""The Bayes rule and its error, against closed forms, against each other, and by Monte Carlo."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr

from deepdiva.data import bayes
from deepdiva.data.bayes import bayes_error, bayes_rule
from deepdiva.data.shapes import SHAPES, draw
from deepdiva.errors import UserError

N = 30_000
CASES = [
    *((name, shape.classes, shape.noise) for name, shape in SHAPES.items()),
    ("circle", 4, 0.2),
    ("diagonal", 2, 0.7),
    ("donut", 2, 0.3),
    ("stripes", 3, 0.01),
    ("xor", 2, 0.4),
    ("flag", 2, 0.1),
    ("gaussians", 2, 1.0),
    ("gaussians", 5, 0.3),
    ("checkerboard", 2, 0.1),
    ("moons", 2, 0.4),
]


@pytest.mark.parametrize(("name", "classes", "noise"), CASES)
def test_monte_carlo_agrees(name, classes, noise):
    n = 4_000 if name in ("spirals", "moons") else N
    points, labels = draw(name, n=n, noise=noise, classes=classes, seed=11)
    wrong = float((bayes_rule(name, points, noise=noise, classes=classes) != labels).mean())
    error = bayes_error(name, noise=noise, classes=classes)
    assert error.value is not None
    assert error.tolerance is not None
    deviation = math.sqrt(error.value * (1 - error.value) / n)
    assert abs(wrong - error.value) < 4 * deviation + error.tolerance + 1e-4


@pytest.mark.parametrize(("name", "classes", "noise"), [("circle", 2, 0.2), ("flag", 3, 0.1), ("xor", 2, 0.3)])
def test_no_moved_rule_is_better(name, classes, noise):
    """What the best rule loses when it is moved or turned is never less than nothing."""
    points, labels = draw(name, n=N, noise=noise, classes=classes, seed=5)
    best = (bayes_rule(name, points, noise=noise, classes=classes) != labels).mean()
    for moved in (points + 0.1, points * 0.9, points @ np.array([[0.98, 0.2], [-0.2, 0.98]])):
        assert (bayes_rule(name, moved, noise=noise, classes=classes) != labels).mean() > best - 0.002


@pytest.mark.parametrize("noise", [1e-5, 0.01, 0.1, 0.5, 3.0])
def test_closed_forms(noise):
    from scipy.integrate import quad

    edge = math.sqrt(2)
    over, _ = quad(lambda d: (edge - d) * ndtr(-d / noise), 0, edge, points=[min(edge, 8 * noise)], epsabs=1e-12)
    assert bayes_error("diagonal", noise=noise).value == pytest.approx(over, abs=1e-9)
    flip, _ = quad(lambda d: ndtr(-d / noise), 0, 1, points=[min(1, 8 * noise)], epsabs=1e-12)
    assert bayes_error("xor", noise=noise).value == pytest.approx(2 * flip * (1 - flip), abs=1e-5)
    assert bayes_error("gaussians", noise=noise, classes=2).value == pytest.approx(ndtr(-1 / noise), abs=1e-9)
    assert bayes._error_of_centres(noise, 2) == pytest.approx(ndtr(-1 / noise), abs=1e-7)


@pytest.mark.parametrize("noise", [0.001, 0.02, 0.2])
def test_a_checkerboard_is_a_product(noise):
    places = np.linspace(-1 - 9 * noise, 1 + 9 * noise, 400_001)
    signs = sum(
        (-1) ** cell * (ndtr((places + 1 - cell / 2) / noise) - ndtr((places + 0.5 - cell / 2) / noise))
        for cell in range(4)
    )
    share = np.trapezoid(np.abs(signs), places) / 2
    assert bayes_error("checkerboard", noise=noise).value == pytest.approx((1 - share**2) / 2, abs=2e-5)


@pytest.mark.parametrize(("name", "noise"), [("circle", 0.1), ("donut", 0.3), ("flag", 0.2), ("stripes", 0.1)])
def test_integration_agrees_with_a_plain_grid(name, noise):
    shape = SHAPES[name]
    axis = np.linspace(-1.2 - 6 * noise, 1.2 + 6 * noise, 901)
    plane = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    densities = bayes._scores(shape.geometry(shape.classes), plane, noise, shape.classes)
    cell = (axis[1] - axis[0]) ** 2
    assert densities.sum(axis=0) * cell == pytest.approx([1.0] * shape.classes, abs=1e-3)
    assert bayes_error(name, noise=noise).value == pytest.approx(
        1 - densities.max(axis=1).sum() * cell / shape.classes, abs=1e-3
    )


def test_the_stated_tolerance_of_curves_holds(monkeypatch):
    rough = bayes_error("moons", noise=0.3)
    monkeypatch.setattr(bayes, "MOST_CELLS", 1700)
    fine = bayes_error("moons", noise=0.3)
    assert rough.value is not None
    assert fine.value is not None
    assert rough.tolerance is not None
    assert abs(rough.value - fine.value) <= rough.tolerance


@pytest.mark.parametrize("name", SHAPES)
def test_errors_grow_with_the_noise_and_stay_below_guessing(name):
    values = [bayes_error(name, noise=noise).value for noise in (0.0, 0.1, 0.3, 1.0, 30.0)]
    assert values[0] == 0.0
    assert values == sorted(values)
    guessing = 1 - 1 / SHAPES[name].classes
    assert values[-1] == pytest.approx(guessing, abs=0.03)
    assert values[-1] <= guessing + 1e-6


def test_what_is_not_computed_is_said():
    for name in ("moons", "circle", "xor"):
        error = bayes_error(name, noise=1e-7)
        assert error.value is None
        assert error.tolerance is None
        assert error.how.startswith("not computed")


def test_without_noise_curves_have_the_nearest_rule():
    for name in ("moons", "spirals"):
        points, labels = draw(name, n=600, noise=0.0)
        assert (bayes_rule(name, points, noise=0.0) != labels).mean() < 0.01


def test_the_same_mistakes_as_in_drawing():
    with pytest.raises(UserError, match="no set of points"):
        bayes_error("moon")
    with pytest.raises(UserError, match="xor cannot have 3 classes"):
        bayes_rule("xor", np.zeros((1, 2)), classes=3)
