"""Image folders, `{train,val,test}/<class>/*.png`: found, checked, decoded once into memory and proven, in one pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepdiva.data.arrays import Arrays, ArraySplits
from deepdiva.data.decode import EXTENSIONS, Decoding, ImageError, Pixels
from deepdiva.data.files import existing_folder, in_threads, printable, reason, to_errors
from deepdiva.data.footprint import Recorder
from deepdiva.data.layout import OTHER_NAMES, SPLITS
from deepdiva.data.split_list import SplitList, read_splits
from deepdiva.data.splits import split_off, stratified
from deepdiva.data.statistics import moments_of_pixels, pixel_histogram
from deepdiva.errors import Problem, UserError, UserErrors, nearest

if TYPE_CHECKING:
    from deepdiva.data.footprint import Footprint

LAYOUT = "images are expected as train/<class>/*.png, val/<class>/*.png (optional) and test/<class>/*.png (optional)"
CHUNK = 32


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
    threads: int | None = None,
) -> ArraySplits:
    """The images below `path`, decoded into memory; each file is read once, for its pixels and its footprint.

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
    names = [name for part in parts.values() for name in part]
    images = _decode(recorder, names, decoding, threads)
    proof = recorder.finish()
    if listed is not None:
        listed.check_root(proof.root)
    _check_sizes(names, images)
    made = tuple(parts) if listed is not None else tuple(parts.keys() - found.files.keys())
    return _assemble(found, parts, images, proof, made=made)


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


def _decode(recorder: Recorder, names: Sequence[str], decoding: Decoding, threads: int | None) -> list[Pixels]:
    """The images called `names`; all that cannot be read are named in one error."""
    images: list[Pixels] = []
    problems = [trouble.problem for trouble in recorder.troubles]
    for result in in_threads(_decoder(recorder, decoding), _chunks(names), threads=threads):
        for item in result:
            if isinstance(item, Problem):
                problems.append(item)
            else:
                images.append(item)
    if problems:
        count = "1 file" if len(problems) == 1 else f"{len(problems)} files"
        raise to_errors(problems, f"{count} in {printable(os.fspath(recorder.path))} cannot be used")
    return images


def _decoder(recorder: Recorder, decoding: Decoding) -> Callable[[Sequence[str]], list[Pixels | Problem]]:
    def decode(names: Sequence[str]) -> list[Pixels | Problem]:
        results: list[Pixels | Problem] = []
        for name in names:
            try:
                results.append(decoding.decode(recorder.read(name)))
            except OSError as error:
                results.append(Problem(f"cannot be read: {reason(error)}", printable(name)))
            except ImageError as error:
                results.append(Problem(str(error), printable(name)))
        return results

    return decode


def _check_sizes(names: Sequence[str], images: Sequence[Pixels]) -> None:
    examples = {image.shape[:2]: name for name, image in zip(names, images, strict=True)}
    if len(examples) > 1:
        (small, one), (large, other) = min(examples.items()), max(examples.items())
        hint = f"bring all to one size, such as --size {max(large)}"
        raise UserErrors(
            [
                Problem(f"{small[0]} x {small[1]} (height x width)", printable(one)),
                Problem(f"{large[0]} x {large[1]}", printable(other), hint),
            ],
            f"images have {len(examples)} different sizes, among them",
        )


def _assemble(
    found: ImageFolder,
    parts: Mapping[str, Sequence[str]],
    images: list[Pixels],
    proof: Footprint,
    *,
    made: Sequence[str],
) -> ArraySplits:
    import torch

    colour = any(image.ndim == 3 for image in images)
    splits, start = {}, 0
    for split, names in parts.items():
        stack = _stack(images[start : start + len(names)], colour=colour)
        start += len(names)
        splits[split] = Arrays(torch.from_numpy(stack), torch.tensor(found.targets(names)), tuple(names))
    train = splits["train"]
    return ArraySplits(
        train=train,
        val=splits["val"],
        test=splits.get("test"),
        classes=found.classes,
        moments=moments_of_pixels(pixel_histogram(train.inputs.numpy())),
        footprints=(proof,),
        membership={split: splits[split].ids for split in ("train", *made)} if made else {},
    )


def _stack(images: Sequence[Pixels], *, colour: bool) -> Pixels:
    """Images (H, W) or (H, W, 3) as one array (N, C, H, W); gray ones are repeated where others have colours."""
    height, width = images[0].shape[:2]
    stack = np.empty((len(images), 3 if colour else 1, height, width), dtype=np.uint8)
    for place, image in enumerate(images):
        stack[place] = image if image.ndim == 2 else image.transpose(2, 0, 1)
    return stack


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and "/." not in name


def _is_image(name: str) -> bool:
    return f".{name.rpartition('.')[2].lower()}" in EXTENSIONS and _is_visible(name)


def _is_class_of(split: str, folder: str) -> bool:
    return folder.startswith(f"{split}/") and folder.count("/") == 1


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), CHUNK):
        yield names[start : start + CHUNK]
