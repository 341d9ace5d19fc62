"""Shapes in the plane to draw labelled points from: what they look like, and the drawing itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from deepdiva.errors import UserError, did_you_mean

Points = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


class Stream:
    """Random numbers made from raw 64-bit draws, which numpy promises never to change."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def uniform(self, *shape: int) -> Points:
        """Numbers in (0, 1]."""
        raw: npt.NDArray[np.uint64] = self._bits.random_raw(int(np.prod(shape)))
        uniform: Points = ((raw >> np.uint64(11)).astype(np.float64).reshape(shape) + 1.0) * 2.0**-53
        return uniform

    def normal(self, *shape: int) -> Points:
        """Numbers of the standard normal distribution (Box and Muller)."""
        radius: Points = np.sqrt(-2.0 * np.log(self.uniform(*shape)))
        cosine: Points = np.cos(2.0 * np.pi * self.uniform(*shape))
        return radius * cosine


@dataclass(frozen=True, eq=False)
class Grid:
    """Rectangles in rows and columns, each with its class; points lie evenly in those of their class.

    Args:
        x: Where the columns begin and end, C + 1 numbers.
        y: Where the rows begin and end, R + 1 numbers.
        colours: The class of every rectangle, shape (C, R).
    """

    x: Points
    y: Points
    colours: Labels

    @property
    def areas(self) -> Points:
        """The area of every rectangle, shape (C, R)."""
        areas: Points = np.diff(self.x)[:, None] * np.diff(self.y)
        return areas

    def place(self, stream: Stream, labels: Labels) -> Points:
        """A point for each label."""
        draws = stream.uniform(len(labels), 3)
        cells = np.empty(len(labels), dtype=np.int64)
        for label in range(int(self.colours.max()) + 1):
            inside = np.flatnonzero(self.colours.ravel() == label)
            cells[labels == label] = inside[_choose(self.areas.ravel()[inside], draws[labels == label, 0])]
        column, row = np.unravel_index(cells, self.colours.shape)
        width, height = np.diff(self.x)[column], np.diff(self.y)[row]
        return np.stack([self.x[column] + draws[:, 1] * width, self.y[row] + draws[:, 2] * height], axis=1)


@dataclass(frozen=True, eq=False)
class Rings:
    """Rings around the origin, each with its class; points lie evenly in those of their class.

    Args:
        squares: Squared radii at which the rings begin and end, R + 1 numbers from 0.
        colours: The class of every ring, shape (R,).
    """

    squares: Points
    colours: Labels

    def place(self, stream: Stream, labels: Labels) -> Points:
        """A point for each label."""
        draws = stream.uniform(len(labels), 3)
        rings = np.empty(len(labels), dtype=np.int64)
        sizes = np.diff(self.squares)
        for label in range(int(self.colours.max()) + 1):
            inside = np.flatnonzero(self.colours == label)
            rings[labels == label] = inside[_choose(sizes[inside], draws[labels == label, 0])]
        radius = np.sqrt(self.squares[rings] + draws[:, 1] * sizes[rings])
        angle = 2.0 * np.pi * draws[:, 2]
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


@dataclass(frozen=True)
class Halves:
    """A square from (-1, -1) to (1, 1), cut along its diagonal: class 1 lies above it."""

    def place(self, stream: Stream, labels: Labels) -> Points:
        """A point for each label."""
        draws = np.sort(2.0 * stream.uniform(len(labels), 2) - 1.0, axis=1)
        return np.where(labels[:, None] == 1, draws, draws[:, ::-1])


@dataclass(frozen=True)
class Curves:
    """A curve for every class.

    Args:
        at: Gives the points at places on the curves of classes, places from 0 to 1.
        from_uniform: How a place is made of a number drawn evenly from (0, 1].
        weight: How densely the points lie at a place.
        length: About how long a curve is.
    """

    at: Callable[[Points, Labels], Points]
    from_uniform: Callable[[Points], Points]
    weight: Callable[[Points], Points]
    length: float

    def place(self, stream: Stream, labels: Labels) -> Points:
        """A point for each label."""
        return self.at(self.from_uniform(stream.uniform(len(labels))), labels)


@dataclass(frozen=True, eq=False)
class Centres:
    """One place for every class, shape (K, 2)."""

    places: Points

    def place(self, stream: Stream, labels: Labels) -> Points:
        """A point for each label."""
        return self.places[labels]


Geometry: TypeAlias = Grid | Rings | Halves | Curves | Centres


@dataclass(frozen=True)
class Shape:
    """A set of points: where its classes lie, and what it has unless asked.

    Args:
        number: Part of the key of its random numbers; never changed.
        geometry: Where the classes lie, for a number of classes.
        rule: The best border in words.
        classes: The usual number of classes.
        noise: The usual standard deviation of what is added to every coordinate.
        most_classes: How many classes there may be; None for any number.
    """

    number: int
    geometry: Callable[[int], Geometry]
    rule: str
    classes: int
    noise: float
    most_classes: int | None = 2


def _stripes(classes: int) -> Grid:
    columns = 3 * classes
    return Grid(np.linspace(-1, 1, columns + 1), np.array([-1.0, 1.0]), np.arange(columns)[:, None] % classes)


def _checkerboard(size: int) -> Grid:
    cuts = np.linspace(-1, 1, size + 1)
    return Grid(cuts, cuts, np.add.outer(np.arange(size), np.arange(size)) % 2)


def _flag(classes: int) -> Grid:
    """A Nordic cross, with a seam where there are three classes."""
    middle, halves = -0.4, np.array([0.15, 0.3])[: classes - 1]
    bars = np.concatenate([-halves[::-1], halves])
    depth = np.concatenate([np.arange(classes), np.arange(classes - 1)[::-1]])
    x = np.concatenate([[-1.2], middle + bars, [1.2]])
    return Grid(x, np.concatenate([[-0.8], bars, [0.8]]), np.maximum.outer(depth, depth))


def _circle(classes: int) -> Rings:
    # Rings of equal area, the innermost with the highest class.
    return Rings(np.arange(classes + 1) / classes, np.arange(classes)[::-1].copy())


def _donut(classes: int) -> Rings:
    return Rings(np.arange(4) / 3, np.array([0, 1, 0]))


def _on_moons(places: Points, labels: Labels) -> Points:
    angle = np.pi * places
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1.0 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    return np.where(labels[:, None] == 0, upper, lower)


def _on_spirals(classes: int) -> Callable[[Points, Labels], Points]:
    def at(places: Points, labels: Labels) -> Points:
        angle = 3.0 * np.pi * places + 2.0 * np.pi * labels / classes
        around: Points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return 3.0 * around * places[:, None]

    return at


def _moons(classes: int) -> Curves:
    return Curves(_on_moons, from_uniform=np.array, weight=np.ones_like, length=np.pi)


def _spirals(classes: int) -> Curves:
    # The square root spreads the points evenly along the arm rather than crowding them in the middle.
    return Curves(_on_spirals(classes), from_uniform=np.sqrt, weight=lambda places: 2.0 * places, length=15.0)


def _gaussians(classes: int) -> Centres:
    # Class 0 of two lies at (-1, 0) and class 1 at (1, 0): the best border is x = 0.
    angle = np.pi + 2.0 * np.pi * np.arange(classes) / classes
    return Centres(np.stack([np.cos(angle), np.sin(angle)], axis=1))


_DENSEST = "the class that lies densest at the point, the noise counted in"
SHAPES = {
    "diagonal": Shape(3, lambda classes: Halves(), "class 1 where y > x, class 0 elsewhere", 2, 0.05),
    "circle": Shape(4, _circle, _DENSEST, 2, 0.05, most_classes=None),
    "donut": Shape(5, _donut, _DENSEST, 2, 0.02),
    "stripes": Shape(6, _stripes, _DENSEST, 2, 0.03, most_classes=None),
    "spirals": Shape(2, _spirals, _DENSEST, 3, 0.1, most_classes=None),
    "xor": Shape(7, lambda classes: _checkerboard(2), "class 1 where x and y differ in sign, else class 0", 2, 0.05),
    "flag": Shape(8, _flag, _DENSEST, 3, 0.02, most_classes=3),
    "moons": Shape(1, _moons, _DENSEST, 2, 0.15),
    "gaussians": Shape(0, _gaussians, "the class of the nearest centre", 3, 0.4, most_classes=None),
    "checkerboard": Shape(9, lambda classes: _checkerboard(4), _DENSEST, 2, 0.02),
}


def draw(
    name: str, *, n: int, noise: float | None = None, seed: int = 0, classes: int | None = None
) -> tuple[Points, Labels]:
    """`n` points (n, 2) of the set `name` and their classes (n,), as equally many of each class as can be.

    Coordinates are rounded to six places, so that the last bit of a platform's sine does not matter.

    Args:
        name: One of `SHAPES`.
        n: Number of points.
        noise: Standard deviation of what is added to every coordinate; None takes the set's own.
        seed: Chooses the points.
        classes: Number of classes; None takes the set's own.

    Raises:
        UserError: No such set, or a number that it cannot be made with.
    """
    shape, noise, classes = settled(name, noise=noise, classes=classes)
    if seed < 0:
        raise UserError(f"seed {seed} is negative", "give a whole number of 0 or more")
    if n < 5 * classes:
        raise UserError(
            f"{n} points are too few for {classes} classes in three splits", f"ask for {5 * classes} or more"
        )
    stream = Stream(seed, shape.number)
    labels = np.arange(n, dtype=np.int64) % classes
    points = shape.geometry(classes).place(stream, labels) + noise * stream.normal(n, 2)
    return np.round(points, 6), labels


def settled(name: str, *, noise: float | None, classes: int | None) -> tuple[Shape, float, int]:
    """The shape called `name`, with the noise and the number of classes that were asked for or are usual.

    Raises:
        UserError: There is no such shape, or not with these numbers.
    """
    if name not in SHAPES:
        raise UserError(
            f"no set of points is called {name!r}", did_you_mean(name, SHAPES) or f"one of {', '.join(SHAPES)}"
        )
    shape = SHAPES[name]
    classes = shape.classes if classes is None else classes
    noise = shape.noise if noise is None else noise
    most = shape.most_classes
    if classes < 2 or (most is not None and classes > most):
        limit = "2 or more" if most is None else "exactly 2" if most == 2 else f"2 to {most}"
        raise UserError(f"{name} cannot have {classes} classes", f"it takes {limit}")
    if not 0 <= noise < float("inf"):
        raise UserError(f"noise {noise} is not a standard deviation", "give a number of 0 or more")
    return shape, noise, classes


def _choose(sizes: Points, draws: Points) -> Labels:
    """For each draw in (0, 1] one of the places, as often as its size."""
    ends = np.cumsum(sizes) / sizes.sum()
    return np.minimum(np.searchsorted(ends, draws), len(sizes) - 1)
