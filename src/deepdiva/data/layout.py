"""What the names of files say about a data set: which are samples, of which class, and in which split."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from deepdiva.data.decode import EXTENSIONS
from deepdiva.data.files import printable, to_errors
from deepdiva.data.tables import SampleTable
from deepdiva.errors import Problem, UserError, did_you_mean

SPLITS = ("train", "val", "test")
OTHER_NAMES = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}


@dataclass(frozen=True)
class Layout:
    """The samples of a data set, one entry a sample in every field, sorted by name.

    Args:
        names: Files, relative to the data set.
        labels: The class of each; None where it lies in no class folder.
        splits: The split of each; None where the data set is not split.
    """

    names: tuple[str, ...]
    labels: tuple[str | None, ...]
    splits: tuple[str | None, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes, sorted."""
        return tuple(sorted({label for label in self.labels if label is not None}))


def read_layout(
    names: Sequence[str],
    folders: Collection[str],
    *,
    files: str | None = None,
    table: SampleTable | None = None,
) -> Layout:
    """The samples among `names`: `<split>/<class>/…`, `<class>/…`, or what a table says of them.

    Args:
        names: All files of the data set, relative to it.
        folders: All its folders.
        files: A pattern such as `*.avi` for the names that are samples; None takes images.
        table: Says which files are samples, and where it has these columns their classes and splits.

    Raises:
        UserError: There are no samples.
    """
    wanted: Callable[[str], bool] = (
        is_image if files is None else lambda name: fnmatchcase(name.rpartition("/")[2], files)
    )
    chosen = sorted(name for name in names if is_visible(name) and wanted(name))
    split_folders = has_split_folders(folders)
    if split_folders:
        chosen = [name for name in chosen if name.partition("/")[0] in SPLITS]
    if not chosen:
        hint = None if files else "name other files than images with a pattern, such as --files '*.avi'"
        raise UserError("there are no samples: no file is an image" if files is None else f"no file is a {files}", hint)
    places = [place_of(name, split_folders=split_folders) for name in chosen]
    layout = Layout(tuple(chosen), tuple(label for _, label in places), tuple(split for split, _ in places))
    return layout if table is None else _by_table(layout, table)


def has_split_folders(folders: Collection[str]) -> bool:
    """Whether the folders at the top are splits; `bus`, `car` and `train` beside each other are three classes."""
    top = {folder for folder in folders if "/" not in folder and is_visible(folder)}
    return "train" in top and (top <= set(SPLITS) or bool(top & {"val", "test"}))


def place_of(name: str, *, split_folders: bool) -> tuple[str | None, str | None]:
    """Split and class of a file, from the folders that it is in."""
    parts = name.split("/")
    split = parts.pop(0) if split_folders else None
    return split, parts[0] if len(parts) > 1 else None


def is_visible(name: str) -> bool:
    """Whether neither a file nor a folder that it is in is hidden."""
    return not name.startswith(".") and "/." not in name


def is_image(name: str) -> bool:
    """Whether a file has the extension of an image."""
    return f".{name.rpartition('.')[2].lower()}" in EXTENSIONS


def groups_of(layout: Layout, group_by: str, *, table: SampleTable | None = None) -> tuple[str, ...]:
    r"""The group of every sample: what belongs together, such as all pages of one writer.

    Args:
        layout: The samples.
        group_by: A column of `table`; otherwise a regular expression with a group in brackets, such as `^(w\d+)_`,
            searched in the file's name, or in the whole relative name when it has a `/`.
        table: Where the column is.

    Raises:
        UserErrors: Files that the expression does not find, all of them.
        UserError: The expression is none, or has no group.
    """
    if table is not None and group_by in table.columns:
        return tuple(table.value(name, group_by) for name in layout.names)
    pattern = _compiled(group_by, table)
    found: list[str] = []
    problems: list[Problem] = []
    for name in layout.names:
        match = pattern.search(name if "/" in group_by else name.rpartition("/")[2])
        if match is None:
            problems.append(Problem("is not matched", printable(name)))
        else:
            found.append("/".join(part or "" for part in match.groups()))
    if problems:
        raise to_errors(
            problems, f"the pattern {group_by!r} gives no group to {len(problems)} of {len(layout.names)} files"
        )
    return tuple(found)


def _compiled(group_by: str, table: SampleTable | None) -> re.Pattern[str]:
    columns = () if table is None else table.columns
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise UserError(f"--group-by {group_by!r} is no pattern: {error}", did_you_mean(group_by, columns)) from error
    if not pattern.groups:
        hint = "put brackets around what names the group, such as '^(w[0-9]+)_'"
        what = "has no group in brackets" if table is None else f"is no column of {Path(table.source).name}"
        raise UserError(f"--group-by {group_by!r} {what}", did_you_mean(group_by, columns) or hint)
    return pattern


def _by_table(layout: Layout, table: SampleTable) -> Layout:
    """The samples that the table names, with its classes and splits where it has them."""
    table = table.resolve(layout.names)
    kept = [place for place, name in enumerate(layout.names) if name in table.rows]
    names = tuple(layout.names[place] for place in kept)
    labels: tuple[str | None, ...] = tuple(layout.labels[place] for place in kept)
    splits: tuple[str | None, ...] = tuple(layout.splits[place] for place in kept)
    chosen = replace(layout, names=names, labels=labels, splits=splits)
    if table.label is not None:
        chosen = replace(chosen, labels=tuple(table.value(name, table.label) for name in names))
    if table.split is not None:
        chosen = replace(chosen, splits=tuple(_split_name(table.value(name, table.split)) for name in names))
    return chosen


def _split_name(text: str) -> str | None:
    """The split that a cell names, by any of its usual names; None for an empty cell."""
    folded = text.strip().lower()
    return OTHER_NAMES.get(folded, folded) or None
