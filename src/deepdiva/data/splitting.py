"""Splits made by a recipe: by fractions, counts or folds, stratified, with groups kept together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepdiva.data.files import existing_folder, printable
from deepdiva.data.footprint import Recorder
from deepdiva.data.layout import SPLITS, Layout, groups_of, read_layout
from deepdiva.data.split_list import SplitList
from deepdiva.data.splits import Indices, counts_of, grouped, stratified
from deepdiva.data.tables import read_table
from deepdiva.errors import UserError

FRACTIONS = (0.8, 0.1, 0.1)
FRACTIONS_BESIDE_A_TEST = (0.9, 0.1)
EXPECTED = "files are expected as <class>/*.png, or as train/<class>/*.png and test/<class>/*.png"


@dataclass(frozen=True)
class Recipe:
    """How a data set is to be split; without fractions, counts or folds 80 % train, 10 % val, 10 % test.

    A data set with a folder `test` keeps it: what is asked then concerns train and val only.

    Args:
        fractions: Shares of train, val and test; two numbers are train and val.
        counts: Numbers of samples instead; one of them may be None, for the rest.
        folds: Number of folds instead: every sample is in the test split of one of them, or, where the test split is
            kept, in the val split of one.
        val_fraction: With folds, the share of the other samples that becomes val; 0 makes none.
        seed: Chooses among the possible splits.
        stratify: Whether every split has the classes in the same proportion.
        group_by: What must stay together: a column of the table, or a regular expression with a group in brackets.
        table: A CSV file that says more of every sample.
        label: The column of the table with the class.
        files: Pattern of the names that are samples; None takes images.
        pool: Whether splits that are there count for nothing, so that all samples are split anew.
    """

    fractions: tuple[float, ...] | None = None
    counts: tuple[int | None, ...] | None = None
    folds: int | None = None
    val_fraction: float = 0.1
    seed: int = 0
    stratify: bool = True
    group_by: str | None = None
    table: str | None = None
    label: str | None = None
    files: str | None = None
    pool: bool = False

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.fractions, self.counts, self.folds)) > 1:
            raise UserError("fractions, counts and folds are three ways to split", "give one of them")
        if self.folds is not None and self.folds < 2:
            raise UserError(f"{self.folds} folds are no folds", "give 2 or more")
        if not 0 <= self.val_fraction < 1:
            raise UserError(f"val_fraction {self.val_fraction} is no share", "give a number from 0 to below 1")
        if self.label is not None and self.table is None:
            raise UserError(f"a column {self.label!r} for the class needs a table", "name it with --table FILE.csv")


def split(path: Path | str, recipe: Recipe) -> SplitList:
    """The data set at `path` split by a recipe; the same for every copy of it, whatever its place and order on disk.

    Raises:
        UserError: The data set cannot be split like this.
    """
    root = existing_folder(Path(path), expected=EXPECTED)
    recorder = Recorder(root, source=os.fspath(path))
    table = None if recipe.table is None else read_table(recipe.table, label=recipe.label)
    layout = read_layout(recorder.names, recorder.folders, files=recipe.files, table=table)
    groups = None if recipe.group_by is None else groups_of(layout, recipe.group_by, table=table)
    kept = np.array([part == "test" and not recipe.pool for part in layout.splits])
    free = np.flatnonzero(~kept)
    _check_kept(layout, groups, kept)
    names, fixed = np.array(layout.names, dtype=object), np.flatnonzero(kept)
    folds = tuple(
        {part: tuple(names[places].tolist()) for part, places in fold.items() if len(places)}
        for fold in _folds(_Pool(layout, groups, free, recipe), fixed)
    )
    by_table = table is not None and table.label is not None
    labels = {name: label for name, label in zip(layout.names, layout.labels, strict=True) if label} if by_table else {}
    how = {key: value for key, value in asdict(recipe).items() if value is not None}
    how |= {"kept_test": len(fixed), "version": _version()}
    return SplitList(folds, recorder.finish().root, labels, how, is_folded=recipe.folds is not None)


@dataclass(frozen=True)
class _Pool:
    """The samples that are there to be split, as places in the layout."""

    layout: Layout
    groups: Sequence[str] | None
    places: Indices
    recipe: Recipe

    def parts(self, counts: Sequence[int], *, seed: int, least: int = 1) -> list[Indices]:
        """As many parts as there are counts; where groups stay together, each holds at least so many of them."""
        labels = [self.layout.labels[place] or "" if self.recipe.stratify else "" for place in self.places]
        if self.groups is None:
            found = stratified(labels, counts, seed=seed)
        else:
            found = grouped(labels, [self.groups[place] for place in self.places], counts, seed=seed, least=least)
        return [self.places[part] for part in found]

    def narrowed(self, places: Indices) -> _Pool:
        """The same with other samples."""
        return _Pool(self.layout, self.groups, np.sort(places), self.recipe)


def _folds(pool: _Pool, fixed: Indices) -> list[dict[str, Indices]]:
    """The splits of every fold; `fixed` is the test split that is kept, or empty."""
    recipe, size = pool.recipe, len(pool.places)
    kept = {"test": fixed} if len(fixed) else {}
    if recipe.folds is None:
        counts = _counts(recipe, size, kept=bool(kept))
        return [dict(zip(SPLITS, pool.parts(counts, seed=recipe.seed), strict=False)) | kept]
    if size < recipe.folds:
        raise UserError(f"{size} samples cannot be split into {recipe.folds} folds", "ask for fewer")
    least = _least_groups(pool, kept=bool(kept))
    tests = pool.parts(counts_of(size, [1 / recipe.folds] * recipe.folds), seed=recipe.seed, least=least)
    folds: list[dict[str, Indices]] = []
    for number, test in enumerate(tests):
        rest = np.concatenate([other for place, other in enumerate(tests) if place != number])
        if kept:
            folds.append({"train": np.sort(rest), "val": test, **kept})
        elif recipe.val_fraction == 0:
            folds.append({"train": np.sort(rest), "test": test})
        else:
            shares = counts_of(len(rest), (1 - recipe.val_fraction, recipe.val_fraction))
            train, val = pool.narrowed(rest).parts(_filled(shares, (True, True)), seed=recipe.seed)
            folds.append({"train": train, "val": val, "test": test})
    return folds


def _least_groups(pool: _Pool, *, kept: bool) -> int:
    """How many groups each fold needs: two where train and val are made of a single other fold."""
    if pool.groups is None or kept or pool.recipe.folds != 2 or pool.recipe.val_fraction == 0:
        return 1
    number = len({pool.groups[place] for place in pool.places})
    if number < 4:
        hints = ["3 folds need only 3"] if number == 3 else []
        hints += ["--val-fraction 0 makes no val"] if number > 1 else ["add groups"]
        raise UserError(
            f"{number} {'group' if number == 1 else 'groups'} cannot be split into 2 folds with a val split: in each, "
            "train and val share the groups of the other fold, so 4 are needed",
            "; ".join(hints),
        )
    return 2


def _counts(recipe: Recipe, size: int, *, kept: bool) -> tuple[int, ...]:
    """How many samples each split is to have."""
    if recipe.counts is not None:
        counts = _complete(recipe.counts, size)
        asked: Sequence[float] = counts
    else:
        asked = recipe.fractions or (FRACTIONS_BESIDE_A_TEST if kept else FRACTIONS)
        counts = counts_of(size, asked)
    if not 1 < len(counts) <= (2 if kept else 3):
        names = "train and val, since the data set has a test split" if kept else "train, val and test"
        raise UserError(f"{len(counts)} numbers do not say how to split", f"give those of {names}")
    return _filled(counts, [share > 0 for share in asked])


def _complete(counts: Sequence[int | None], size: int) -> tuple[int, ...]:
    given = sum(count for count in counts if count is not None)
    if list(counts).count(None) > 1 or given > size or (given < size and None not in counts):
        raise UserError(
            f"counts {' '.join('rest' if count is None else str(count) for count in counts)} do not fit {size} samples",
            "they add up to the number of samples; one of them may be 'rest'",
        )
    return tuple(size - given if count is None else count for count in counts)


def _filled(counts: Sequence[int], wanted: Sequence[bool]) -> tuple[int, ...]:
    """The counts, with one sample from the largest for each that is wanted and came out empty."""
    filled = list(counts)
    for place, is_wanted in enumerate(wanted):
        if is_wanted and not filled[place]:
            filled[place] += 1
            filled[filled.index(max(filled))] -= 1
    if any(count < 1 for count, is_wanted in zip(filled, wanted, strict=True) if is_wanted):
        raise UserError(f"{sum(counts)} samples are too few for {sum(wanted)} splits")
    return tuple(filled)


def _check_kept(layout: Layout, groups: Sequence[str] | None, kept: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
    if not (~kept).any():
        raise UserError("all samples are in the test split", "--pool splits them anew")
    if groups is None:
        return
    inside = {group for group, is_kept in zip(groups, kept, strict=True) if is_kept}
    both = sorted({group for group, is_kept in zip(groups, kept, strict=True) if not is_kept} & inside)
    if both:
        shown = ", ".join(printable(group) for group in both[:5]) + (" …" if len(both) > 5 else "")
        raise UserError(
            f"{len(both)} groups are in the test split and outside of it: {shown}", "--pool splits all samples anew"
        )


def _version() -> str:
    from importlib.metadata import version

    return version("deepdiva")
