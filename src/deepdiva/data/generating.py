"""Generated points written as files: `{train,val,test}/data.csv`, and `bayes.json` with the best that can be done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepdiva.data.bayes import bayes_error, bayes_rule, describe_geometry
from deepdiva.data.new_folder import new_folder
from deepdiva.data.shapes import Labels, Points, draw, settled
from deepdiva.data.splits import counts_of, stratified

SCHEMA = 1
FRACTIONS = (0.6, 0.2, 0.2)
SPLITS = ("train", "val", "test")


def write_points(
    name: str, target: Path, *, n: int = 1000, noise: float | None = None, seed: int = 0, classes: int | None = None
) -> Mapping[str, Any]:
    """Writes the set `name`, split 60 / 20 / 20 as `deepdiva run points --data NAME` does, and gives `bayes.json`.

    Args:
        name: One of `deepdiva.data.shapes.SHAPES`.
        target: A new folder.
        n: Number of points.
        noise: Standard deviation of what is added to every coordinate; None takes the set's own.
        seed: Chooses the points and the split.
        classes: Number of classes; None takes the set's own.

    Raises:
        UserError: No such set, a number that it cannot be made with, or a folder that cannot be made.
    """
    points, labels = draw(name, n=n, noise=noise, seed=seed, classes=classes)
    parts = dict(zip(SPLITS, stratified(labels, counts_of(n, FRACTIONS), seed=seed), strict=True))
    with new_folder(target) as folder:
        for split, chosen in parts.items():
            (folder / split).mkdir()
            (folder / split / "data.csv").write_text(_table(points[chosen], labels[chosen]))
        shape, noise, classes = settled(name, noise=noise, classes=classes)
        guess = bayes_rule(name, points, noise=noise, classes=classes)
        error = bayes_error(name, noise=noise, classes=classes)
        bayes = {
            "schema": SCHEMA,
            "shape": name,
            "n": n,
            "noise": noise,
            "seed": seed,
            "classes": classes,
            "rule": shape.rule,
            "geometry": describe_geometry(shape.geometry(classes)),
            "error": None if error.value is None else round(error.value, 9),
            "tolerance": error.tolerance,
            "how": error.how,
            "wrong_here": {split: int(np.sum(guess[part] != labels[part])) for split, part in parts.items()},
            "points_here": {split: len(part) for split, part in parts.items()},
        }
        (folder / "bayes.json").write_text(json.dumps(bayes, indent=2) + "\n")
    return bayes


def _table(points: Points, labels: Labels) -> str:
    rows = zip(points.tolist(), labels.tolist(), strict=True)
    return "x,y,label\n" + "".join(f"{x:.6f},{y:.6f},{label}\n" for (x, y), label in rows)
