"""Points in the plane with a class each: generated sets, and `{train,val,test}/data.csv` with x, y and label."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from deepdiva.data.arrays import Arrays, ArraySplits
from deepdiva.data.files import existing_folder, reason, to_errors
from deepdiva.data.footprint import Recorder, of_contents
from deepdiva.data.shapes import SHAPES, draw
from deepdiva.data.splits import counts_of, split_off, stratified
from deepdiva.data.statistics import moments_of_features
from deepdiva.errors import Problem

Row: TypeAlias = tuple[int, tuple[float, float], str]
"""Line in its file, place, label."""

FRACTIONS = (0.6, 0.2, 0.2)
COLUMNS = ("x", "y", "label")
LAYOUT = "points are expected as train/data.csv, val/data.csv (optional) and test/data.csv (optional)"


def generate(
    name: str, *, n: int = 1000, noise: float | None = None, seed: int = 0, classes: int | None = None
) -> ArraySplits:
    """The shape `name` split 60 / 20 / 20; see `draw` for the arguments."""
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
