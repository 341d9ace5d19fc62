"""Split lists: files that say which samples are for training, validation and testing."""

from __future__ import annotations

import json
import os
import secrets
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepdiva.data.files import printable, reason, to_errors
from deepdiva.data.layout import SPLITS, Layout, has_split_folders, place_of
from deepdiva.errors import Problem, UserError

SCHEMA = 1

Parts = Mapping[str, tuple[str, ...]]
"""The names of the samples of every split."""


@dataclass(frozen=True)
class SplitList:
    """Which sample is in which split.

    Args:
        folds: For every fold the names of the samples of each split; a plain split is one fold.
        root: Root digest of the data set's footprint; None ties the list to no content.
        labels: The class of every sample where the folders do not say it.
        how: The recipe, for the record.
        is_folded: Whether these are folds, of which a run takes one.
    """

    folds: tuple[Parts, ...]
    root: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    how: Mapping[str, Any] = field(default_factory=dict)
    is_folded: bool = False

    def to_json(self) -> str:
        """The list as text, one sample a line."""
        parts = [{split: list(names) for split, names in fold.items()} for fold in self.folds]
        content: dict[str, Any] = {"schema": SCHEMA, "root": self.root, "how": dict(self.how)}
        if self.labels:
            content["labels"] = dict(self.labels)
        return json.dumps(content | ({"folds": parts} if self.is_folded else {"splits": parts[0]}), indent=1) + "\n"

    def choose(self, fold: int | None) -> Parts:
        """The splits of one fold; of a plain split there is only one, which is None.

        Raises:
            UserError: There is no such fold, or one has to be chosen.
        """
        if not self.is_folded:
            if fold is not None:
                raise UserError(f"fold {fold} was asked of a split list without folds", "leave --fold out")
            return self.folds[0]
        if fold is None or not 0 <= fold < len(self.folds):
            what = "none was chosen" if fold is None else f"there is no fold {fold}"
            raise UserError(
                f"the split list has {len(self.folds)} folds and {what}", f"--fold 0 … {len(self.folds) - 1}"
            )
        return self.folds[fold]

    def check_root(self, root: str) -> None:
        """Compares the data set's content with that of the data set that was split.

        Raises:
            UserError: It is another.
        """
        if self.root is not None and self.root != root:
            raise UserError(
                "the split list was made of other content: files were added, removed or changed since then",
                "split the data again; or write null for its root, if the same names are to be trusted",
            )

    def layout(self, parts: Parts, names: Collection[str], folders: Collection[str]) -> Layout:
        """The samples of `parts` in a data set that has these files and folders; each with its class, if it has one.

        Raises:
            UserErrors: Samples that are not there; all of them.
        """
        known, split_folders = set(names), has_split_folders(folders)
        split_of = {name: split for split, part in parts.items() for name in part}
        missing = sorted(split_of.keys() - known)
        if missing:
            problems = [Problem("is in the split list but not in the data set", printable(name)) for name in missing]
            raise to_errors(problems, "the split list does not fit the data set")
        chosen = tuple(sorted(split_of))
        labels = (self.labels.get(name) or place_of(name, split_folders=split_folders)[1] for name in chosen)
        return Layout(chosen, tuple(labels), tuple(split_of[name] for name in chosen))

    def labels_in(self, parts: Parts, names: Collection[str], folders: Collection[str]) -> dict[str, str]:
        """The class of every sample; as `layout`, but each needs one.

        Raises:
            UserErrors: Samples that are not there or have no class; all of them.
        """
        layout = self.layout(parts, names, folders)
        labels = {name: label for name, label in zip(layout.names, layout.labels, strict=True) if label is not None}
        strays = [name for name in layout.names if name not in labels]
        if strays:
            problems = [Problem("lies in no class folder", printable(name)) for name in strays]
            raise to_errors(problems, "the split list does not fit the data set")
        return labels


def read_splits(path: Path | str) -> SplitList:
    """The split list in a file.

    Raises:
        UserError: There is no such file, it is no split list, or a sample stands in two splits.
    """
    source = os.fspath(path)
    try:
        content = json.loads(Path(path).read_bytes())
        if content["schema"] != SCHEMA:
            raise UserError(f"{source} has schema {content['schema']}; this version reads {SCHEMA}")
        folds = content["folds"] if "folds" in content else [content["splits"]]
        parts = tuple({str(split): tuple(map(str, names)) for split, names in fold.items()} for fold in folds)
        found = SplitList(
            parts, content.get("root"), content.get("labels", {}), content.get("how", {}), is_folded="folds" in content
        )
    except OSError as error:
        raise UserError(
            f"{source} cannot be read: {reason(error)}", "`deepdiva data split` makes split lists"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{source} is no split list: {error!r}", "`deepdiva data split` makes them") from error
    for fold in found.folds:
        _check(fold, source)
    return found


def _check(fold: Parts, source: str) -> None:
    unknown = [split for split in fold if split not in SPLITS]
    if unknown or not fold.get("train"):
        what = f"splits {', '.join(unknown)}" if unknown else "no samples in train"
        raise UserError(f"{source} has {what}", f"there may be {', '.join(SPLITS)}, and train is needed")
    times = Counter(name for part in fold.values() for name in part)
    twice = [Problem("stands in the list twice", printable(name)) for name, count in times.items() if count > 1]
    if twice:
        raise to_errors(twice, f"{source} is no split")


def write_splits(splits: SplitList, target: Path) -> None:
    """Writes a split list, whole or not at all, where nothing is yet.

    Raises:
        UserError: Something is there already, or the file cannot be written.
    """
    name = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with name.open("x", encoding="utf-8") as file:
            file.write(splits.to_json())
            file.flush()
            os.fsync(file.fileno())
        # A link is refused where something is, also when it came there a moment ago; a rename would replace it.
        os.link(name, target)
    except FileExistsError as error:
        raise UserError(f"{target} is there already", "remove it, or name another with --to") from error
    except OSError as error:
        raise UserError(f"{target} cannot be written: {reason(error)}") from error
    finally:
        with suppress(OSError):
            name.unlink()
