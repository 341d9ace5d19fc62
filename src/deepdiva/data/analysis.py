"""What is in a data set of images: exact statistics, classes, sizes, and everything that may be wrong with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from deepdiva.data.leakage import Duplicates, StraddlingGroup

SCHEMA = 1
WHOLE = "all"
"""The name of the one part of a data set that is not split."""


@dataclass(frozen=True)
class Part:
    """One split, or the whole data set where it is not split.

    Args:
        name: `train`, `val`, `test`, or `all`.
        images: How many could be read.
        members: Digest of the names of its samples.
        pixels: How many there are in all its images.
        mean: Of every channel, from 0 to 1, every pixel counting the same: what `normalise` takes.
        std: Standard deviation of every channel, likewise.
        levels: How often each of the 256 levels occurs in every channel.
        classes: Number of images of every class, in the order of `Analysis.classes`.
        class_weights: Weights that let every class count the same in a loss.
    """

    name: str
    images: int
    members: str
    pixels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    levels: tuple[tuple[int, ...], ...]
    classes: tuple[int, ...]
    class_weights: tuple[float, ...]


@dataclass(frozen=True)
class Spread:
    """How a number is distributed over the images.

    Args:
        minimum: The least, and `maximum` the largest.
        median: Half of the images have at most this.
        edges: Borders of the bins of a histogram, one more than there are bins.
        counts: Images in each bin.
    """

    minimum: float
    maximum: float
    median: float
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Unreadable:
    """A file that cannot be read, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class Analysis:
    """All that was found.

    Args:
        source: The data set, as the user wrote it.
        root: Root digest of its footprint; None where a file could not even be opened.
        decoder: What decoded the images: other versions may give other pixels.
        images: How many could be read.
        size: Bytes of all samples.
        other_files: How many files are no samples.
        channels: `gray`, or `rgb` where any image has colours.
        classes: Names of all classes, sorted.
        parts: The splits.
        modes: Number of images by the mode of their file.
        formats: Number of images by format.
        gray: How many are read as gray; all others as RGB.
        gray_in_rgb: How many are read as RGB although they show nothing but gray.
        sizes: The most frequent sizes: height, width, number of images.
        different_sizes: How many sizes there are.
        heights: In pixels.
        widths: In pixels.
        aspect_ratios: Width divided by height.
        blank: Images of a single colour.
        unreadable: Files that cannot be read, all of them.
        duplicates: Images that occur more than once.
        group_by: What groups were told by; None where they were not asked for.
        groups: How many there are.
        straddling: Groups that lie in several splits.
    """

    source: str
    root: str | None
    decoder: str
    images: int
    size: int
    other_files: int
    channels: str
    classes: tuple[str, ...]
    parts: tuple[Part, ...]
    modes: dict[str, int]
    formats: dict[str, int]
    gray: int
    gray_in_rgb: int
    sizes: tuple[tuple[int, int, int], ...]
    different_sizes: int
    heights: Spread
    widths: Spread
    aspect_ratios: Spread
    blank: tuple[str, ...]
    unreadable: tuple[Unreadable, ...]
    duplicates: tuple[Duplicates, ...]
    group_by: str | None
    groups: int
    straddling: tuple[StraddlingGroup, ...]

    @property
    def leaks(self) -> bool:
        """Whether something lies on both sides of a split, as content or as group."""
        return bool(self.straddling) or any(found.crosses_splits for found in self.duplicates)

    def to_mapping(self) -> dict[str, Any]:
        """All of it in plain values, for JSON; `leaks` beside."""
        return {"schema": SCHEMA, **asdict(self), "leaks": self.leaks}

    @classmethod
    def from_mapping(cls, content: dict[str, Any]) -> Analysis:
        """The analysis that `to_mapping` gave, read back from JSON.

        Raises:
            ValueError, KeyError, TypeError: It is none, or of another version.
        """
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']}")
        values = {field.name: _frozen(content[field.name]) for field in fields(cls)}
        values["modes"], values["formats"] = dict(content["modes"]), dict(content["formats"])
        for name, kind in (("parts", Part), ("unreadable", Unreadable), ("duplicates", Duplicates)):
            values[name] = tuple(_made(kind, item) for item in content[name])
        for name in ("heights", "widths", "aspect_ratios"):
            values[name] = _made(Spread, content[name])
        values["straddling"] = tuple(StraddlingGroup(**item) for item in content["straddling"])
        return cls(**values)


def _made(kind: Any, content: dict[str, Any]) -> Any:
    return kind(**{name: _frozen(value) for name, value in content.items()})


def _frozen(value: Any) -> Any:
    """Lists as tuples, at every depth."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
