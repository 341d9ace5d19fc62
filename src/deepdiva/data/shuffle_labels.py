"""A copy of a data set whose training labels are shuffled: what is learned from it is learned by heart."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepdiva.data.files import existing_folder
from deepdiva.data.footprint import Recorder
from deepdiva.data.image_folder import LAYOUT, survey
from deepdiva.data.new_folder import new_folder, put
from deepdiva.data.points import read_folder
from deepdiva.data.splits import random_order
from deepdiva.errors import UserError

RECORD = "shuffled-labels.json"
TABLE = "train/data.csv"


@dataclass(frozen=True)
class Shuffled:
    """What was done.

    Args:
        samples: Number of training samples.
        shuffled: How many of them took part.
        changed: How many have another label now; some get their own again by chance.
        has_val: Whether there is a `val` split; where there is none it is split off, with shuffled labels.
    """

    samples: int
    shuffled: int
    changed: int
    has_val: bool


def shuffle_labels(path: Path, target: Path, *, seed: int = 0, fraction: float = 1.0, link: bool = False) -> Shuffled:
    """Writes the data set at `path` to the new folder `target`, with the labels of the training samples shuffled.

    The labels are permuted, so that every class keeps its size; `val` and `test` stay as they are. An image goes to
    `train/<new class>/<old class>/…`. `shuffled-labels.json` says what was done.

    Args:
        path: An image folder, or points with a class each (`train/data.csv`); it is not changed.
        target: The new folder.
        seed: Chooses the permutation.
        fraction: Share of the training samples that take part, chosen at random.
        link: Whether images are linked instead of copied.

    Raises:
        UserErrors: What is wrong with the data set.
        UserError: A number that makes no sense, or a folder that cannot be made.
    """
    if not 0 < fraction <= 1:
        raise UserError(f"fraction {fraction} is no share", "give a number above 0 and up to 1")
    recorder = Recorder(existing_folder(path, expected=LAYOUT))
    is_points = TABLE in recorder.names
    with new_folder(target, apart_from=path) as folder:
        if is_points:
            moved = [name for name in recorder.names if name != TABLE]
            found = _shuffle_table(recorder, path, folder, seed, fraction)
        else:
            moved, found = _shuffle_images(recorder, path, folder, seed, fraction, link=link)
        for name in moved:
            put(path / name, folder / name, link=link)
        record = {"schema": 1, "seed": seed, "fraction": fraction, **vars(found), "root": recorder.finish().root}
        (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    return found


def permuted(labels: Sequence[str], *, seed: int, fraction: float) -> tuple[list[str], int]:
    """The labels with a share of them permuted among themselves, and how many these are."""
    count = math.floor(fraction * len(labels) + 0.5)
    chosen = np.sort(random_order(len(labels), seed=seed)[:count])
    order = chosen[random_order(count, seed=seed + 1)]
    new = list(labels)
    for place, source in zip(chosen.tolist(), order.tolist(), strict=True):
        new[place] = labels[source]
    return new, count


def _shuffle_images(
    recorder: Recorder, path: Path, folder: Path, seed: int, fraction: float, *, link: bool
) -> tuple[list[str], Shuffled]:
    """Puts the training images into place; gives the names of all other files."""
    found = survey(recorder)
    names = found.files["train"]
    old = [name.split("/", 2)[1] for name in names]
    new, count = permuted(old, seed=seed, fraction=fraction)
    for name, was, label in zip(names, old, new, strict=True):
        put(path / name, folder / "train" / label / was / name.split("/", 2)[2], link=link)
    taken = set(names)
    rest = [name for name in recorder.names if name not in taken]
    return rest, _summary(old, new, count, found.files)


def _shuffle_table(recorder: Recorder, path: Path, folder: Path, seed: int, fraction: float) -> Shuffled:
    """Writes the training points with their new labels; all other columns and the order of the rows stay."""
    read_folder(path)  # names whatever is wrong
    text = recorder.read(TABLE).decode("utf-8-sig")
    header, *rows = [row for row in csv.reader(io.StringIO(text, newline="")) if any(cell.strip() for cell in row)]
    column = [cell.strip().lower() for cell in header].index("label")
    old = [row[column].strip() for row in rows]
    new, count = permuted(old, seed=seed, fraction=fraction)
    for row, label in zip(rows, new, strict=True):
        row[column] = label
    (folder / "train").mkdir()
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    splits = {split: () for split in ("val",) if f"{split}/data.csv" in recorder.names}
    return _summary(old, new, count, splits)


def _summary(old: Sequence[str], new: Sequence[str], count: int, splits: Mapping[str, Sequence[str]]) -> Shuffled:
    changed = sum(was != label for was, label in zip(old, new, strict=True))
    return Shuffled(len(old), count, changed, "val" in splits)
