"""Points in the plane with a class each: generated sets, and `{train,val,test}/data.csv` with x, y and label."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from deepdiva.data.arrays import Arrays, ArraySplits
from deepdiva.data.files import existing_folder, reason, to_errors
from deepdiva.data.footprint import Recorder, of_contents
from deepdiva.data.splits import counts_of, split_off, stratified
from deepdiva.data.statistics import moments_of_features
from deepdiva.errors import Problem, UserError, did_you_mean

Points = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Row: TypeAlias = tuple[int, tuple[float, float], str]
"""Line in its file, place, label."""

FRACTIONS = (0.6, 0.2, 0.2)
COLUMNS = ("x", "y", "label")
LAYOUT = "points are expected as train/data.csv, val/data.csv (optional) and test/data.csv (optional)"


class _Stream:
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


def _moons(stream: _Stream, labels: Labels, classes: int) -> Points:
    angle = np.pi * stream.uniform(len(labels))
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1.0 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    return np.where(labels[:, None] == 0, upper, lower)


def _spirals(stream: _Stream, labels: Labels, classes: int) -> Points:
    # The square root spreads the points evenly along the arm rather than crowding them in the middle.
    along = np.sqrt(stream.uniform(len(labels)))
    angle = 3.0 * np.pi * along + 2.0 * np.pi * labels / classes
    around: Points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return 3.0 * around * along[:, None]


def _gaussians(stream: _Stream, labels: Labels, classes: int) -> Points:
    # Class 0 of two lies at (-1, 0) and class 1 at (1, 0): the best border is x = 0.
    angle = np.pi + 2.0 * np.pi * labels / classes
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


@dataclass(frozen=True)
class Shape:
    """A generated set: its curve (or centres), and the number of classes and the noise it has unless asked."""

    place: Callable[[_Stream, Labels, int], Points]
    classes: int
    noise: float
    most_classes: int | None = None


SHAPES = {
    "moons": Shape(_moons, classes=2, noise=0.15, most_classes=2),
    "spirals": Shape(_spirals, classes=3, noise=0.1),
    "gaussians": Shape(_gaussians, classes=3, noise=0.4),
}


def draw(
    name: str, *, n: int, noise: float | None = None, seed: int = 0, classes: int | None = None
) -> tuple[Points, Labels]:
    """`n` points (n, 2) of the set `name` and their classes (n,), as equally many of each class as can be.

    Coordinates are rounded to six places, so that the last bit of a platform's sine does not matter.

    Args:
        name: `moons`, `spirals` or `gaussians`.
        n: Number of points.
        noise: Standard deviation of what is added to every coordinate; None takes the set's own.
        seed: Chooses the points.
        classes: Number of classes; None takes the set's own.

    Raises:
        UserError: No such set, or a number that it cannot be made with.
    """
    shape = _shape(name)
    classes = shape.classes if classes is None else classes
    noise = shape.noise if noise is None else noise
    _check(name, shape, n=n, noise=noise, seed=seed, classes=classes)
    stream = _Stream(seed, sorted(SHAPES).index(name))
    labels = np.arange(n, dtype=np.int64) % classes
    points = shape.place(stream, labels, classes) + noise * stream.normal(n, 2)
    return np.round(points, 6), labels


def generate(
    name: str, *, n: int = 1000, noise: float | None = None, seed: int = 0, classes: int | None = None
) -> ArraySplits:
    """The set `name` split 60 / 20 / 20; see `draw` for the arguments."""
    import torch

    points, labels = draw(name, n=n, noise=noise, seed=seed, classes=classes)
    ids = tuple(f"{name}-{place:05d}" for place in range(n))
    whole = Arrays(torch.from_numpy(points.astype(np.float32)), torch.from_numpy(labels), ids)
    train, val, test = (whole.select(part) for part in stratified(labels, counts_of(n, FRACTIONS), seed=seed))
    made = {"points": whole.inputs.numpy().astype("<f4").tobytes(), "labels": labels.astype("<i8").tobytes()}
    return ArraySplits(
        train=train,
        val=val,
        test=test,
        classes=tuple(str(label) for label in range(int(labels.max()) + 1)),
        moments=moments_of_features(train.inputs.numpy()),
        footprints=(of_contents(made, source=name),),
        membership={"train": train.ids, "val": val.ids, "test": test.ids},
    )


def _shape(name: str) -> Shape:
    if name not in SHAPES:
        raise UserError(
            f"no set of points is called {name!r}", did_you_mean(name, SHAPES) or f"one of {', '.join(SHAPES)}"
        )
    return SHAPES[name]


def _check(name: str, shape: Shape, *, n: int, noise: float, seed: int, classes: int) -> None:
    if classes < 2 or (shape.most_classes is not None and classes > shape.most_classes):
        limit = "2 or more" if shape.most_classes is None else f"exactly {shape.most_classes}"
        raise UserError(f"{name} cannot have {classes} classes", f"it takes {limit}")
    if seed < 0:
        raise UserError(f"seed {seed} is negative", "give a whole number of 0 or more")
    if n < 5 * classes:
        raise UserError(
            f"{n} points are too few for {classes} classes in three splits", f"ask for {5 * classes} or more"
        )
    if not 0 <= noise < float("inf"):
        raise UserError(f"noise {noise} is not a standard deviation", "give a number of 0 or more")


def read_folder(path: Path | str, *, val_fraction: float = 0.2, split_seed: int = 0) -> ArraySplits:
    """The points of `{train,val,test}/data.csv` below `path`, files with the columns x, y and label.

    The classes are the labels of `train`, sorted (as numbers if all are). A missing `val` is split off from `train`,
    stratified; `test` may be missing. Coordinates stay as they are: `moments` come from the training points alone,
    so that one point has one place in all splits after `normalise`.

    Args:
        path: The data set.
        val_fraction: Share of the training points that become `val` where there is none.
        split_seed: Chooses which these are.

    Raises:
        UserErrors: What is wrong with the files, each with its line.
    """
    recorder = Recorder(existing_folder(Path(path), expected=LAYOUT, names=SHAPES))
    tables, problems = _read_tables(recorder)
    classes = _sorted_labels({label for _, _, label in tables.get("train", [])})
    for split, rows in tables.items():
        for line, _, label in rows:
            if label not in classes:
                problems.append(Problem(f"class {label!r} does not occur in train", f"{split}/data.csv:{line}"))
    if not problems and len(classes) < 2:
        problems.append(Problem(f"has {len(classes)} classes where 2 or more are needed", "train/data.csv"))
    if problems:
        raise to_errors(problems, f"{path} cannot be used as a set of points")
    splits = {split: _to_arrays(split, rows, classes) for split, rows in tables.items()}
    membership: dict[str, Sequence[str]] = {}
    if "val" not in splits:
        whole = splits["train"]
        counts = split_off(len(whole), val_fraction)
        parts = stratified(whole.targets.numpy(), counts, seed=split_seed)
        splits["train"], splits["val"] = (whole.select(part) for part in parts)
        membership = {split: splits[split].ids for split in ("train", "val")}
    return ArraySplits(
        train=splits["train"],
        val=splits["val"],
        test=splits.get("test"),
        classes=tuple(classes),
        moments=moments_of_features(splits["train"].inputs.numpy()),
        footprints=(recorder.finish(),),
        membership=membership,
    )


def _read_tables(recorder: Recorder) -> tuple[dict[str, list[Row]], list[Problem]]:
    tables: dict[str, list[Row]] = {}
    problems = [trouble.problem for trouble in recorder.troubles]
    for split in ("train", "val", "test"):
        name = f"{split}/data.csv"
        if name in recorder.names:
            try:
                text = recorder.read(name).decode("utf-8-sig")
                tables[split], wrong = _read_table(name, text)
                problems += wrong
            except OSError as error:
                problems.append(Problem(f"cannot be read: {reason(error)}", name))
            except UnicodeDecodeError:
                problems.append(Problem("is not a text in UTF-8", name))
        elif split == "train":
            problems.append(Problem("is missing", name, LAYOUT))
    return tables, problems


def _read_table(name: str, text: str) -> tuple[list[Row], list[Problem]]:
    reader = csv.reader(io.StringIO(text, newline=""))
    header = [cell.strip().lower() for cell in next(reader, [])]
    if missing := [column for column in COLUMNS if header.count(column) != 1]:
        found = ",".join(header) or "nothing"
        return [], [Problem(f"column {', '.join(missing)} is missing: the header is {found}", f"{name}:1", "x,y,label")]
    places = [header.index(column) for column in COLUMNS]
    rows: list[Row] = []
    problems: list[Problem] = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        try:
            if len(cells) != len(header):
                raise ValueError(f"has {len(cells)} values where the header has {len(header)}")
            x, y, label = (cells[place].strip() for place in places)
            rows.append((reader.line_num, (_number("x", x), _number("y", y)), _class_name(label)))
        except ValueError as error:
            problems.append(Problem(str(error), f"{name}:{reader.line_num}"))
    if not rows and not problems:
        problems.append(Problem("holds no points", name))
    return rows, problems


def _number(column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{column} is {text!r} where a number is expected") from None
    if not math.isfinite(value):
        raise ValueError(f"{column} is {text!r}, which is no place")
    return value


def _class_name(text: str) -> str:
    """The label; `1.0` and `1` are one class, since programs that write tables of numbers write the former."""
    if not text:
        raise ValueError("label is empty")
    try:
        value = float(text)
    except ValueError:
        return text
    return str(int(value)) if value.is_integer() else text


def _sorted_labels(labels: set[str]) -> list[str]:
    if all(label.lstrip("-").isdecimal() for label in labels):
        return sorted(labels, key=int)
    return sorted(labels)


def _to_arrays(split: str, rows: list[Row], classes: list[str]) -> Arrays:
    import torch

    points = torch.tensor([point for _, point, _ in rows], dtype=torch.float32)
    targets = torch.tensor([classes.index(label) for _, _, label in rows])
    return Arrays(points, targets, tuple(f"{split}/data.csv:{line}" for line, _, _ in rows))
