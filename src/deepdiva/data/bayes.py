"""The best that can be done on a generated set of points: the Bayes rule, and how often it is wrong.

All classes are equally likely. What a class looks like with noise, its density, is its shape blurred by a normal
distribution; the rule takes the class that is densest at a point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deepdiva.data.shapes import Centres, Curves, Geometry, Grid, Halves, Labels, Points, Rings, settled

NODES = np.polynomial.legendre.leggauss(12)
REACH = 9.0
"""Standard deviations beyond which nothing of a normal distribution counts: 2e-19 of it."""
SMALLEST = 1e-6
MOST_CELLS = 1000
BLOCK = 1 << 22


@dataclass(frozen=True)
class BayesError:
    """How often the best rule is wrong.

    Args:
        value: The share of points; None where it cannot be computed.
        tolerance: How far off `value` may be.
        how: The way it was computed.
    """

    value: float | None
    tolerance: float | None
    how: str


def bayes_rule(name: str, points: Points, *, noise: float | None = None, classes: int | None = None) -> Labels:
    """The class (N,) that is most likely at each of `points` (N, 2) of the set `name`.

    Raises:
        UserError: No such set, or a number that it cannot be made with.
    """
    shape, noise, classes = settled(name, noise=noise, classes=classes)
    geometry = shape.geometry(classes)
    if isinstance(geometry, Halves):
        return (points[:, 1] > points[:, 0]).astype(np.int64)
    step = max(1, BLOCK // (_node_count(geometry, noise) if isinstance(geometry, Curves) else 64 * classes))
    parts = [_scores(geometry, points[at : at + step], noise, classes) for at in range(0, len(points), step)]
    chosen: Labels = np.concatenate(parts).argmax(axis=1)
    return chosen


def bayes_error(name: str, *, noise: float | None = None, classes: int | None = None) -> BayesError:
    """How often the best rule for the set `name` is wrong on new points; arguments and errors as for `bayes_rule`."""
    shape, noise, classes = settled(name, noise=noise, classes=classes)
    geometry = shape.geometry(classes)
    if noise == 0:
        return BayesError(0.0, 0.0, "without noise the classes do not meet")
    if isinstance(geometry, Halves):
        return BayesError(_error_of_halves(noise), 1e-9, "closed form")
    if isinstance(geometry, Curves):
        return _error_of_curves(geometry, noise, classes)
    if noise < SMALLEST:
        return BayesError(None, None, f"not computed: noise below {SMALLEST:g} is not resolved")
    if isinstance(geometry, Centres):
        if classes == 2:
            return BayesError(float(_normal(-1 / noise)), 1e-9, "closed form")
        return BayesError(_error_of_centres(noise, classes), 1e-7, "numerical integration over the angle")
    if isinstance(geometry, Rings):
        return BayesError(_error_of_rings(geometry, noise, classes), 1e-5, "numerical integration over the radius")
    return BayesError(_error_of_grid(geometry, noise, classes), 1e-4, "numerical integration over the plane")


def describe_geometry(geometry: Geometry) -> dict[str, Any]:
    """Where the classes lie, in plain numbers."""
    if isinstance(geometry, Grid):
        return {
            "x": geometry.x.tolist(),
            "y": geometry.y.tolist(),
            "class_of_column_and_row": geometry.colours.tolist(),
        }
    if isinstance(geometry, Rings):
        return {"squared_radii": geometry.squares.tolist(), "class_of_ring": geometry.colours.tolist()}
    if isinstance(geometry, Centres):
        return {"centres": geometry.places.tolist()}
    return {}


def _scores(geometry: Geometry, points: Points, noise: float, classes: int) -> Points:
    """Numbers (N, K) that are largest for the most likely class."""
    if isinstance(geometry, Grid):
        columns, rows = _shares(points[:, 0], geometry.x, noise), _shares(points[:, 1], geometry.y, noise)
        return np.stack([np.einsum("nc,cr,nr->n", columns, cells, rows) for cells in _cells(geometry, classes)], axis=1)
    if isinstance(geometry, Rings):
        return _ring_densities(geometry, np.hypot(*points.T), noise, classes)
    if isinstance(geometry, Centres):
        centres: Points = -np.square(points[:, None] - geometry.places).sum(axis=2)
        return centres
    assert isinstance(geometry, Curves)
    return _curve_scores(geometry, points, noise, classes)


def _cells(grid: Grid, classes: int) -> list[Points]:
    """For each class the density in every rectangle, shape (C, R)."""
    masks = [grid.colours == label for label in range(classes)]
    return [mask / grid.areas[mask].sum() for mask in masks]


def _shares(values: Points, cuts: Points, noise: float) -> Points:
    """How much of a value, noise counted in, comes from each of the stretches between `cuts`: (N, C)."""
    if noise == 0:
        return ((values[:, None] > cuts[:-1]) & (values[:, None] <= cuts[1:])).astype(np.float64)
    return -np.diff(_normal((values[:, None] - cuts) / noise), axis=1)


def _ring_densities(rings: Rings, radius: Points, noise: float, classes: int) -> Points:
    """Densities (N, K) at distances from the origin."""
    inside = np.stack([_share_of_disc(radius, math.sqrt(square), noise) for square in rings.squares], axis=1)
    of_ring = np.diff(inside, axis=1)
    sizes = math.pi * np.diff(rings.squares)
    masks = [rings.colours == label for label in range(classes)]
    return np.stack([of_ring[:, mask].sum(axis=1) / sizes[mask].sum() for mask in masks], axis=1)


def _share_of_disc(radius: Points, edge: float, noise: float) -> Points:
    """The share of a normal distribution, `radius` away from the origin, that lies in a disc around it."""
    if edge == 0:
        return np.zeros_like(radius)
    if noise == 0:
        return (radius <= edge).astype(np.float64)
    from scipy.stats import ncx2

    share: Points = _normal((edge - radius) / noise)  # far from the edge, or where the edge is as good as straight
    near = (np.abs(radius - edge) < REACH * noise) & (edge < 1e3 * noise)
    share[near] = ncx2.cdf((edge / noise) ** 2, 2, (radius[near] / noise) ** 2)
    return share


def _node_count(curves: Curves, noise: float) -> int:
    return 2000 if noise == 0 else min(20_000, max(400, math.ceil(4 * curves.length / noise)))


def _nodes(curves: Curves, noise: float, label: int) -> tuple[Points, Points]:
    """Points (T, 2) along the curve of a class and the share of the class that each stands for."""
    count = _node_count(curves, noise)
    places = (np.arange(count) + 0.5) / count
    return curves.at(places, np.full(count, label)), curves.weight(places) / count


def _curve_scores(curves: Curves, points: Points, noise: float, classes: int) -> Points:
    scores = []
    for label in range(classes):
        nodes, weights = _nodes(curves, noise, label)
        squares = np.square(points[:, None, 0] - nodes[:, 0]) + np.square(points[:, None, 1] - nodes[:, 1])
        nearest = squares.min(axis=1)
        if noise == 0:
            scores.append(-nearest)
        else:
            blurred = np.exp((nearest[:, None] - squares) / (2 * noise**2)) @ weights
            scores.append(np.log(blurred) - nearest / (2 * noise**2))
    return np.stack(scores, axis=1)


def _error_of_halves(noise: float) -> float:
    """The noise across the border carries a point over it; points lie `a - d` densely at distance d from it."""
    a = math.sqrt(2.0)
    beyond, peak, foot = float(_normal(-a / noise)), 1 / math.sqrt(2 * math.pi), float(_bell(a / noise))
    first = a * noise * (peak - foot)
    second = noise**2 * (0.5 - beyond - a / noise * foot)
    return float(a**2 / 2 * beyond + first - second / 2)


def _error_of_centres(noise: float, classes: int) -> float:
    """One less the share of a normal distribution around (1, 0) in its sector; the angle has a known density."""
    angles, weights = _rule_for([-math.pi / classes, 0.0, math.pi / classes], noise)
    along = np.cos(angles) / noise
    across = np.exp(-np.square(np.sin(angles) / noise) / 2)
    density = math.exp(-1 / (2 * noise**2)) / (2 * math.pi)
    return float(1 - np.sum(weights * (density + across * along * _normal(along) / math.sqrt(2 * math.pi))))


def _error_of_rings(rings: Rings, noise: float, classes: int) -> float:
    edges = np.sqrt(rings.squares)
    radius, weights = _rule_for([*edges, edges[-1] + REACH * noise], noise)
    best = _ring_densities(rings, radius, noise, classes).max(axis=1) / classes
    return max(0.0, 1 - float(np.sum(weights * best * 2 * math.pi * radius)))


def _error_of_grid(grid: Grid, noise: float, classes: int) -> float:
    """The plane is integrated as rows of columns, with many points near the borders and few elsewhere."""
    axes = []
    for cuts in (grid.x, grid.y):
        places, weights = _rule_for([cuts[0] - REACH * noise, *cuts, cuts[-1] + REACH * noise], noise)
        axes.append((_shares(places, cuts, noise), weights))
    (columns, along_x), (rows, along_y) = axes
    parts = [columns @ cells @ rows.T for cells in _cells(grid, classes)]
    return max(0.0, 1 - float(along_x @ np.maximum.reduce(parts) @ along_y) / classes)


def _error_of_curves(curves: Curves, noise: float, classes: int) -> BayesError:
    """On two grids, of which the coarser one says how good the finer one is."""
    ends = np.concatenate([_nodes(curves, 0.0, label)[0] for label in range(classes)])
    low, high = ends.min(axis=0) - REACH * noise, ends.max(axis=0) + REACH * noise
    if (high - low).max() / MOST_CELLS > noise / 2 or 4 * curves.length / noise > 20_000:
        return BayesError(None, None, "not computed: the noise is too small for a grid of the plane")
    sizes = (MOST_CELLS * 5 // 8, MOST_CELLS)
    coarse, fine = (_error_on_grid(curves, noise, classes, low, high, cells) for cells in sizes)
    tolerance = max(1e-5, 3 * abs(fine - coarse))
    rounded = math.ceil(tolerance * 1e5) / 1e5
    return BayesError(max(0.0, fine), rounded, f"numerical integration on {MOST_CELLS} x {MOST_CELLS} points")


def _error_on_grid(curves: Curves, noise: float, classes: int, low: Points, high: Points, cells: int) -> float:
    size = (high - low) / cells
    x, y = (low[axis] + size[axis] * (np.arange(cells) + 0.5) for axis in (0, 1))
    best = np.zeros((cells, cells))
    for label in range(classes):
        nodes, weights = _nodes(curves, noise, label)
        # A normal distribution in the plane is one along x times one along y: one product of matrices.
        along_x = _bell((x - nodes[:, :1]) / noise) / noise * weights[:, None]
        along_y = _bell((y - nodes[:, 1:]) / noise) / noise
        np.maximum(best, along_x.T @ along_y, out=best)
    return 1 - float(best.sum() * size[0] * size[1]) / classes


def _rule_for(borders: Sequence[float], noise: float) -> tuple[Points, Points]:
    """Places and weights to integrate over what bends within some `noise` of the borders; the outer ones are limits."""
    steps = np.arange(-REACH, REACH + 0.25, 0.5)
    marks = np.add.outer(np.asarray(borders), noise * steps).ravel()
    ends = np.unique(np.clip(np.concatenate([marks, borders]), borders[0], borders[-1]))
    centre, half = (ends[1:] + ends[:-1]) / 2, np.diff(ends) / 2
    places, weights = NODES
    return (centre[:, None] + half[:, None] * places).ravel(), (half[:, None] * weights).ravel()


def _normal(values: npt.ArrayLike) -> Points:
    """The standard normal distribution function."""
    from scipy.special import ndtr

    shares: Points = ndtr(np.asarray(values, dtype=np.float64))
    return shares


def _bell(values: npt.ArrayLike) -> Points:
    """The standard normal density."""
    density: Points = np.exp(-np.square(np.asarray(values, dtype=np.float64)) / 2) / math.sqrt(2 * math.pi)
    return density
