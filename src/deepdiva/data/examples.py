"""A few images of a data set to look at: chosen by name alone, so that they are the same each time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from deepdiva.data.decode import ImageError, open_picture
from deepdiva.data.layout import Layout

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 112


def choose_examples(layout: Layout, *, classes: int = 24, each: int = 12) -> dict[str | None, tuple[str, ...]]:
    """Some names of every class, evenly spaced in their order: of the training samples where there are splits.

    Args:
        layout: The samples.
        classes: How many classes at most, the first by name.
        each: How many names of each class at most.
    """
    wanted = "train" if "train" in layout.splits else None
    names: dict[str | None, list[str]] = {}
    for name, label, split in zip(layout.names, layout.labels, layout.splits, strict=True):
        if split == wanted:
            names.setdefault(label, []).append(name)
    shown = sorted(names, key=lambda label: label or "")[:classes]
    return {label: _spaced(names[label], each) for label in shown}


def thumbnails(root: Path, names: Iterable[str], *, side: int = SIDE) -> dict[str, Image]:
    """Small versions of some images, by name; those that cannot be read are left out.

    Args:
        root: The data set.
        names: Which images.
        side: The longer side of a small version; smaller images stay as they are.
    """
    found: dict[str, Image] = {}
    for name in names:
        try:
            image = open_picture(Path(os.fspath(root), name).read_bytes()).image
        except (OSError, ImageError):
            continue
        image.thumbnail((side, side))
        found[name] = image
    return found


def _spaced(names: list[str], count: int) -> tuple[str, ...]:
    if len(names) <= count:
        return tuple(names)
    return tuple(names[(2 * place + 1) * len(names) // (2 * count)] for place in range(count))
