"""Downloading a data set by its name: fetched, checked, unpacked, read once, and known from then on."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepdiva.data import archives, catalog, expected, formats, store
from deepdiva.data.catalog import DataSet, Layout, Published
from deepdiva.data.disk import check_room, explained, make_folders, remove_empty, scratch
from deepdiva.data.fetch import Report, fetch
from deepdiva.data.files import printable, reason
from deepdiva.data.originals import Labelled
from deepdiva.data.statistics import class_counts, moments_of_pixels, pixel_histogram
from deepdiva.data.store import Receipt
from deepdiva.errors import Problem, UserError, UserErrors
from deepdiva.runs.storage import System

SPARE_BYTES = 16 << 20
"""Left free on the disk, beside what a data set needs."""


@dataclass(frozen=True)
class Downloaded:
    """A data set that is ready for use.

    Args:
        dataset: Which one it is.
        variant: The variant that was asked for.
        receipt: Where it lies, its footprint and numbers.
        fetched: Names of the files that were fetched; none where all were there already.
    """

    dataset: DataSet
    variant: str | None
    receipt: Receipt
    fetched: tuple[str, ...]


def download(
    name: str,
    *,
    to: Path | None = None,
    mirrors: Sequence[str] = (),
    report: Report | None = None,
    pause: Callable[[float], None] = time.sleep,
    system: System | None = None,
) -> Downloaded:
    """Makes a data set ready; nothing is fetched, and no network used, where its files are there already.

    Args:
        name: Its name, with a variant where more files are needed: `mnist`, `svhn:extra`.
        to: Its folder; by default where it is already, or `<name>` in the user's data directory. Files in it are
            taken as they are.
        mirrors: Addresses or folders to take the files from, in this order; by default the addresses of its authors.
        report: Told of progress.
        pause: Waits before another attempt.
        system: The calls that write.

    Raises:
        UserError: The name is not known, no place has the right files, the disk is full, or what is there is
            something else.
    """
    dataset, variant = catalog.get(name)
    folder = _known_place(dataset) if to is None else Path(os.path.abspath(to))  # noqa: PTH100 (links stay)
    job = _Job(dataset, variant, folder, tuple(mirrors), report, pause, system or System())
    made = make_folders(folder, job.system)
    try:
        with _alone(folder):
            fetched = job.complete()
            receipt = _examine(dataset, folder)
    except BaseException:
        remove_empty(made)
        raise
    store.save(receipt)
    expected.remember(receipt.footprint, receipt.footprint.source, origin="its download")
    return Downloaded(dataset, variant, receipt, tuple(fetched))


def addresses(dataset: DataSet, file: Published) -> list[str]:
    """Where the authors publish a file, as torchvision knows it.

    Raises:
        UserError: torchvision does not have it.
    """
    from torchvision import datasets  # takes seconds, so only when something is really fetched

    source = getattr(datasets, dataset.source, None)
    bases = [f"{mirror.rstrip('/')}/{file.name}" for mirror in getattr(source, "mirrors", ())]
    urls = [getattr(source, "url", ""), *(row[0] for row in getattr(source, "split_list", {}).values())]
    found = bases + [url for url in urls if url.rpartition("/")[2] == file.name]
    if not found:
        raise UserError(f"no address is known for {file.name}", "name a place with --mirror")
    return found


@dataclass(frozen=True)
class _Job:
    """One download, from nothing or from what is there to a folder with all files."""

    dataset: DataSet
    variant: str | None
    folder: Path
    mirrors: tuple[str, ...]
    report: Report | None
    pause: Callable[[float], None]
    system: System

    def complete(self) -> list[str]:
        """Fetches and unpacks what is missing; gives the names of what was fetched."""
        found = formats.locate(self.dataset, self.folder)
        if found is not None:
            _check_files(found.layout, found.folder)
            wanted = self.dataset.extra.get(self.variant or "", ())
        else:
            _check_free(self.dataset, self.folder)
            wanted = self.dataset.files_of(self.variant)
        needed = [file for file in wanted if not _is_there(file, self.folder)]
        unpacks = found is None and self.dataset.archive
        self._check_space(needed, unpacks=unpacks)
        for file in needed:
            places = _places(self.dataset, file, self.mirrors)
            target = self.folder / file.name
            fetch(file, target, places, report=self.report, pause=self.pause, system=self.system)
        if unpacks:
            self._unpack(keep=not needed and self.folder != store.folder_of(self.dataset.name))
        return [file.name for file in needed]

    def _check_space(self, needed: Sequence[Published], *, unpacks: bool) -> None:
        size = sum(file.size for file in needed) + (self.dataset.room if unpacks else 0)
        for file in needed:
            with suppress(OSError):
                size -= (self.folder / f"{file.name}.part").stat().st_size
        if size > 0:
            check_room(self.folder, size + SPARE_BYTES, self.dataset.title)

    def _unpack(self, *, keep: bool) -> None:
        """Unpacks the archive and checks what was in it; the archive goes, unless the user had put it there."""
        layout = self.dataset.layouts[0]
        archive = self.folder / self.dataset.published[0].name
        home = layout.folders[0]
        with scratch(self.folder / ".unpacking", self.system) as inside:
            archives.unpack(archive, inside, most_bytes=2 * self.dataset.room, system=self.system)
            _check_files(layout, inside / home)
            with explained(self.folder / home):
                self.system.replace(inside / home, self.folder / home)
        if not keep:
            with explained(archive):
                self.system.unlink(archive)


def _known_place(dataset: DataSet) -> Path:
    """Where a data set lies, or where it will be put."""
    receipt = store.load(dataset.name)
    if receipt is not None and formats.locate(dataset, receipt.folder) is not None:
        return receipt.folder
    return store.folder_of(dataset.name)


def _places(dataset: DataSet, file: Published, mirrors: Sequence[str]) -> list[str]:
    """Where to look for a file, as complete addresses and paths."""
    if not mirrors:
        return addresses(dataset, file)
    places: list[str] = []
    for mirror in mirrors:
        scheme, separator, _ = mirror.partition("://")
        if separator and scheme.lower() not in ("http", "https"):
            raise UserError(f"--mirror {mirror}: {scheme} is not supported", "give http://…, https://… or a folder")
        if separator:
            places.append(f"{mirror.rstrip('/')}/{file.name}")
            continue
        if not Path(mirror).is_dir():
            raise UserError(f"--mirror {mirror}: there is no such folder")
        below = [Path(mirror, folder, file.name) for folder in ("", *dataset.layouts[0].folders)]
        places.append(str(next((path for path in below if path.is_file()), below[0])))
    return places


def _examine(dataset: DataSet, folder: Path) -> Receipt:
    """Reads the whole data set once: its footprint, and numbers about it."""
    original, footprint = formats.load(dataset, None, folder)
    found = formats.locate(dataset, folder)
    verified = found is not None and found.layout is dataset.layouts[0]
    moments = moments_of_pixels(pixel_histogram(original.train.pixels))
    _, channels, height, width = original.train.pixels.shape
    statistics: dict[str, Any] = {
        "train": len(original.train),
        "test": len(original.test),
        "channels": channels,
        "height": height,
        "width": width,
        "classes": list(original.classes),
        "mean": list(moments.mean),
        "std": list(moments.std),
        "class_counts": {
            "train": _counts(original.train, original.classes),
            "test": _counts(original.test, original.classes),
        },
    }
    return Receipt(dataset.name, folder, footprint, statistics, verified)


def _counts(split: Labelled, classes: tuple[str, ...]) -> list[int]:
    return list(class_counts(split.labels, len(classes)))


def _check_files(layout: Layout, folder: Path) -> None:
    """Compares files with their published checksums, where there are such.

    Raises:
        UserErrors: Files that are missing or have another content, all of them.
    """
    problems = []
    for name, published in layout.files.items():
        try:
            found = _md5(folder / name)
        except OSError as error:
            problems.append(Problem(f"cannot be read: {reason(error)}", printable(name)))
            continue
        if published is not None and found != published:
            problems.append(Problem(f"has another content: its MD5 is {found}, {published} was published", name))
    if problems:
        raise UserErrors(
            problems, f"{printable(str(folder))} does not hold the published files; remove them to download them again"
        )


def _check_free(dataset: DataSet, folder: Path) -> None:
    """Refuses to unpack over a folder that holds something else, before anything is fetched."""
    home = folder / dataset.layouts[0].folders[0]
    if dataset.archive and home.is_dir() and any(home.iterdir()):
        lacks = [name for name in dataset.layouts[0].files if not (home / name).is_file()]
        raise UserError(
            f"{home} is there, but lacks {', '.join(lacks)}", "remove it to download it again, or choose another --to"
        )


def _is_there(file: Published, folder: Path) -> bool:
    """Whether a file was put into `folder` already.

    Raises:
        UserError: A file of that name is there with another content.
    """
    path = folder / file.name
    if not path.exists():
        return False
    with explained(path):
        found = _md5(path)
    if found != file.md5:
        raise UserError(
            f"{path} is another file: its MD5 is {found}, {file.md5} was published", "remove it to download it again"
        )
    return True


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps a second process from writing into the same folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:  # some network file systems know no locks
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise UserError(f"another process is downloading into {folder}", "wait until it has ended") from error
        yield
    finally:
        os.close(handle)
