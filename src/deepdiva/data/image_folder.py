"""Image folders, `{train,val,test}/<class>/*.png`: found, checked, decoded once and proven, in one pass."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepdiva.data import arrays
from deepdiva.data.arrays import Arrays, ArraySplits
from deepdiva.data.decode import EXTENSIONS, Decoding, decoder
from deepdiva.data.decoded import Decoded, read_images
from deepdiva.data.files import existing_folder, printable, to_errors
from deepdiva.data.footprint import Recorder
from deepdiva.data.layout import OTHER_NAMES, SPLITS
from deepdiva.data.sink import CachePolicy, Rows
from deepdiva.data.split_list import SplitList, read_splits
from deepdiva.data.splits import split_off, stratified
from deepdiva.data.statistics import moments_of_pixels
from deepdiva.data.streaming import Streamed
from deepdiva.errors import Problem, UserError, nearest

LAYOUT = "images are expected as train/<class>/*.png, val/<class>/*.png (optional) and test/<class>/*.png (optional)"


@dataclass(frozen=True)
class ImageFolder:
    """What lies in an image folder, before anything is decoded.

    Args:
        classes: Class names, sorted: the folders of the training split.
        files: For each split that is there the names of its images, sorted, relative to the data set.
        labels: The class of every image where the folder below the split does not say it.
    """

    classes: tuple[str, ...]
    files: Mapping[str, tuple[str, ...]]
    labels: Mapping[str, str] | None = None

    def targets(self, files: Sequence[str]) -> list[int]:
        """The class index of each of `files`."""
        places = {name: place for place, name in enumerate(self.classes)}
        if self.labels is not None:
            return [places[self.labels[file]] for file in files]
        return [places[file.split("/", 2)[1]] for file in files]


def load_image_folder(
    path: Path | str,
    *,
    channels: str = "auto",
    size: int | tuple[int, int] | None = None,
    val_fraction: float = 0.1,
    split_seed: int = 0,
    splits: Path | str | None = None,
    fold: int | None = None,
    cache: CachePolicy = "auto",
    threads: int | None = None,
) -> ArraySplits:
    """The images below `path`, decoded; each file is read once, for its pixels and its footprint.

    Decoded images are kept in the user's cache and mapped from there: later runs decode nothing. What does not fit is
    decoded for every batch (`Streamed`).

    The classes are the folders of `train`. A missing `val` is split off from `train`, stratified; `test` may be
    missing. Hidden files, and files whose extension is not that of an image, are no samples.

    Args:
        path: The data set.
        channels: `gray`, `rgb`, or `auto`: gray where every image is gray, RGB otherwise; see `Decoding`.
        size: Height and width of all images, or one number for both; needed where their sizes differ.
        val_fraction: Share of the training images that become `val` where there is none.
        split_seed: Chooses which these are.
        splits: A split list that says which images are in which split, whatever folders they lie in.
        fold: Which fold of the list.
        cache: Whether decoded images are kept; see `read_images`.
        threads: How many decode at the same time; None takes as many as there are cores.

    Raises:
        UserErrors: What is wrong with the data set: all of it.
    """
    decoding = Decoding(channels, (size, size) if isinstance(size, int) else size)
    root = existing_folder(Path(path), expected=LAYOUT, names=("digits",))
    recorder = Recorder(root, threads=threads, source=os.fspath(path))
    if fold is not None and splits is None:
        raise UserError(f"fold {fold} of what?", "name the split list with --splits FILE")
    listed = None if splits is None else read_splits(splits)
    found = survey(recorder) if listed is None else survey_listed(recorder, listed, fold=fold)
    parts = dict(found.files)
    if "val" not in parts:
        parts["train"], parts["val"] = _split_off(found, val_fraction, split_seed)
    # In an order that does not depend on the split, so that what is kept decoded serves every split.
    names = [name for part in found.files.values() for name in part]
    if listed is not None:
        names = sorted(set(names))
    place_of = {name: place for place, name in enumerate(names)}
    rows = {split: np.array([place_of[name] for name in part], dtype=np.int64) for split, part in parts.items()}
    decoded = read_images(recorder, names, decoding, counted=rows["train"], policy=cache, threads=threads)
    if listed is not None:
        listed.check_root(decoded.proof.root)
    made = tuple(parts) if listed is not None else tuple(parts.keys() - found.files.keys())
    samples = {split: _samples(root, found, decoded, places, decoding) for split, places in rows.items()}
    return ArraySplits(
        train=samples["train"],
        val=samples["val"],
        test=samples.get("test"),
        classes=found.classes,
        moments=moments_of_pixels(decoded.histogram),
        footprints=(decoded.proof,),
        membership={split: samples[split].ids for split in ("train", *made)} if made else {},
        preprocessing={"decoder": decoder()},
    )


def survey(recorder: Recorder) -> ImageFolder:
    """The classes and images of a data set, from the names of its files alone.

    Raises:
        UserErrors: No training images, a class without images, a class in `val` or `test` that `train` lacks, an
            image outside of any class: all that is the case, and with it what cannot be read.
    """
    folders = [folder for folder in recorder.folders if _is_visible(folder)]
    _check_layout(recorder.path, folders)
    classes = tuple(sorted(folder.split("/")[1] for folder in folders if _is_class_of("train", folder)))
    files: dict[str, list[str]] = {split: [] for split in SPLITS if split in folders}
    problems: list[Problem] = []
    for name in recorder.names:
        split = name.partition("/")[0]
        if split not in files or not _is_image(name):
            continue
        if name.count("/") < 2:
            problems.append(Problem("lies in no class folder", printable(name)))
        else:
            files[split].append(name)
    problems += _class_problems(folders, classes, files)
    if problems:
        problems += [trouble.problem for trouble in recorder.troubles]
        raise to_errors(problems, f"{printable(os.fspath(recorder.path))} cannot be used as an image folder")
    return ImageFolder(classes, {split: tuple(names) for split, names in files.items()})


def survey_listed(recorder: Recorder, listed: SplitList, *, fold: int | None) -> ImageFolder:
    """As `survey`, for the splits that a list names: classes are those of its training images.

    Raises:
        UserErrors: The list does not fit the data set, or a class in `val` or `test` is not in `train`.
    """
    files = listed.choose(fold)
    labels = listed.labels_in(files, recorder.names, recorder.folders)
    classes = tuple(sorted({labels[name] for name in files["train"]}))
    used = {(split, labels[name]) for split, names in files.items() for name in names}
    strange = sorted((split, label) for split, label in used if label not in classes)
    problems = [
        Problem(f"has the class {printable(name)}, which train does not have", split) for split, name in strange
    ]
    if len(classes) < 2:
        problems.append(Problem(f"has {len(classes)} classes where 2 or more are needed", "train"))
    if problems:
        raise to_errors(problems, "the split list cannot be used")
    return ImageFolder(classes, files, labels)


def _check_layout(path: Path, folders: Sequence[str]) -> None:
    top = [folder for folder in folders if "/" not in folder]
    for name in top:
        meant = OTHER_NAMES.get(name.lower(), name.lower())
        if meant in SPLITS and meant not in top:
            raise UserError(f"{path} has a folder {name} but none called {meant}", f"rename it to {meant}")
    if "train" not in top:
        raise UserError(f"{path} has no folder train", LAYOUT)


def _class_problems(
    folders: Sequence[str], classes: Sequence[str], files: Mapping[str, Sequence[str]]
) -> Iterator[Problem]:
    filled = {name.rsplit("/", name.count("/") - 1)[0] for names in files.values() for name in names}
    if len(classes) < 2:
        yield Problem(f"has {len(classes)} class folders where 2 or more are needed", "train", LAYOUT)
    for name in classes:
        if f"train/{name}" not in filled:
            yield Problem("is a class without images", printable(f"train/{name}"))
    for split in ("val", "test"):
        if split in files and not files[split]:
            yield Problem("has no images", split)
        for folder in folders:
            name = folder.partition("/")[2]
            if _is_class_of(split, folder) and name not in classes:
                close = nearest(name, classes)
                hint = None if close is None else f"did you mean '{close}'?"
                yield Problem("is a class that train does not have", printable(folder), hint)


def _split_off(found: ImageFolder, fraction: float, seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    files = found.files["train"]
    counts = split_off(len(files), fraction)
    train, val = stratified(found.targets(files), counts, seed=seed)
    return tuple(files[place] for place in train), tuple(files[place] for place in val)


def _samples(root: Path, found: ImageFolder, decoded: Decoded, rows: Rows, decoding: Decoding) -> Arrays:
    """The samples at `rows` of all images: where they are kept as they lie there, otherwise from their files."""
    import torch

    names = tuple(decoded.names[place] for place in rows.tolist())
    targets = torch.tensor(found.targets(names))
    if decoded.pixels is None:
        return Streamed(root, names, targets, decoding=decoding, shape=decoded.shape, proof=decoded.proof)
    images = torch.from_numpy(decoded.pixels)
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return Arrays(images[int(rows[0]) : int(rows[-1]) + 1], targets, names)
    return arrays.Rows(images, torch.from_numpy(rows), targets, names)


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and "/." not in name


def _is_image(name: str) -> bool:
    return f".{name.rpartition('.')[2].lower()}" in EXTENSIONS and _is_visible(name)


def _is_class_of(split: str, folder: str) -> bool:
    return folder.startswith(f"{split}/") and folder.count("/") == 1
