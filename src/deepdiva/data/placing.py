"""A split laid out as folders of links or copies, `<split>/<class>/…`: complete, or not there at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from deepdiva.data.files import printable, to_errors
from deepdiva.data.layout import has_split_folders, place_of
from deepdiva.data.new_folder import new_folder, put
from deepdiva.data.split_list import SplitList
from deepdiva.errors import Problem, UserError


def place(root: Path, splits: SplitList, target: Path, *, by: Literal["link", "copy"]) -> int:
    """Makes the folder `target` with the samples of every split; with folds, one folder `fold-0`, … for each.

    Links are symbolic and absolute, so that the new folder may be moved while the data set stays.

    Args:
        root: The data set.
        splits: Which sample goes where.
        target: The new folder.
        by: Whether files are linked or copied.

    Returns:
        The number of files made.

    Raises:
        UserError: Something is at `target`, two samples would get one name, or the disk refuses.
    """
    if splits.is_folded and by == "copy":
        raise UserError("every sample would be copied once for each fold", "make links or a list of the folds")
    pairs = list(_pairs(root, splits))
    _check_names(pairs)
    base = root.resolve()
    with new_folder(target) as partial:
        for name, place in pairs:
            put(base / name, partial / place, link=by == "link")
    return len(pairs)


def _pairs(root: Path, splits: SplitList) -> Iterator[tuple[str, str]]:
    """Every sample with its new name."""
    folders = [entry.name for entry in root.iterdir() if entry.is_dir()]
    split_folders = has_split_folders(folders)
    for number, fold in enumerate(splits.folds):
        above = f"fold-{number}/" if splits.is_folded else ""
        for split, names in fold.items():
            for name in names:
                yield name, f"{above}{split}/{_new_name(name, splits.labels.get(name), split_folders=split_folders)}"


def _new_name(name: str, label: str | None, *, split_folders: bool) -> str:
    """The name below the folder of a split: class first, then what the name had below its class."""
    split, folder = place_of(name, split_folders=split_folders)
    tail = name if split is None else name.partition("/")[2]
    if label is None or label == folder:
        return tail
    if "/" in label or label in ("", ".", ".."):
        raise UserError(f"the class {printable(label)} cannot be the name of a folder", "make a list instead")
    return f"{label}/{tail}"


def _check_names(pairs: list[tuple[str, str]]) -> None:
    taken: dict[str, str] = {}
    problems: list[Problem] = []
    for name, place in pairs:
        if place in taken:
            problems.append(Problem(f"would be {printable(place)}, as {printable(taken[place])}", printable(name)))
        taken[place] = name
    if problems:
        raise to_errors(problems, "samples would get the same name; a list of the splits has no such trouble")
