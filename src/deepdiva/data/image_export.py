"""Original files of a data set written as folders of PNG images, one for each split and class."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from deepdiva.data.disk import explained, make_folders, remove_empty, scratch, write_whole
from deepdiva.data.files import in_threads
from deepdiva.data.originals import Pixels
from deepdiva.data.readers import Original
from deepdiva.errors import UserError
from deepdiva.runs.storage import System

CHUNK = 256

Report: TypeAlias = Callable[[str, int, int], None]
"""Told the name of the folder, the images that are written, and how many there are."""

_Job: TypeAlias = tuple[str, Pixels]


def write_folders(
    original: Original, target: Path, *, report: Report | None = None, system: System | None = None
) -> int:
    """Writes `{train,test}/<class>/<place>.png` below `target` and gives the number of images.

    PNG loses nothing: the pixels read from the folders are those of the original files.

    Args:
        original: The images.
        target: A folder that is not there yet, or empty; it appears when all is written.
        report: Told of progress.
        system: The calls that write.

    Raises:
        UserError: `target` holds something, or the system refuses to write.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} is there already", "remove it, or choose another folder with --to")
    system = system or System()
    total = len(original.train) + len(original.test)
    made = make_folders(target.parent, system)
    try:
        with scratch(target.with_name(f".{target.name}.writing"), system) as growing, explained(target):
            _make_classes(original, growing, system)
            done = 0
            for count in in_threads(_writer(growing, system), _chunks(original)):
                done += count
                if report is not None:
                    report(target.name, done, total)
            if target.is_dir():
                system.remove_directory(target)
            system.replace(growing, target)
    except BaseException:
        remove_empty(made)
        raise
    return total


def folder_names(classes: tuple[str, ...]) -> list[str]:
    """A folder name for each class: its own name without what file systems do not take."""
    names = ["".join("-" if sign in '/\\:*?"<>|' else sign for sign in name).strip(" .") for name in classes]
    if len(set(names)) < len(names) or not all(names):
        return [f"{place:03d}-{name}" for place, name in enumerate(names)]
    return names


def _make_classes(original: Original, folder: Path, system: System) -> None:
    for split in ("train", "test"):
        system.make_directory(folder / split)
        for name in folder_names(original.classes):
            system.make_directory(folder / split / name)


def _chunks(original: Original) -> Iterator[list[_Job]]:
    names = folder_names(original.classes)
    for split, images in (("train", original.train), ("test", original.test)):
        for start in range(0, len(images), CHUNK):
            yield [
                (f"{split}/{names[images.labels[place]]}/{place:06d}.png", images.pixels[place])
                for place in range(start, min(start + CHUNK, len(images)))
            ]


def _writer(folder: Path, system: System) -> Callable[[list[_Job]], int]:
    from PIL import Image

    def write(jobs: list[_Job]) -> int:
        for name, pixels in jobs:
            picture = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0).copy())
            buffer = io.BytesIO()
            picture.save(buffer, format="PNG")
            write_whole(system, folder / name, buffer.getvalue())
        return len(jobs)

    return write
