"""Analyses a data set of images in one pass over its files; what was found before for the same content is taken up."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deepdiva.data.analysis import WHOLE, Analysis, Part, Spread, Unreadable
from deepdiva.data.analysis_memory import key_of, members_digest, recall, remember
from deepdiva.data.decode import decoder
from deepdiva.data.files import existing_folder, printable
from deepdiva.data.footprint import Recorder
from deepdiva.data.layout import SPLITS, Layout, groups_of, read_layout
from deepdiva.data.leakage import find_duplicates, straddling_groups
from deepdiva.data.measuring import Levels, Measured, Portion, measure, pixel_digest
from deepdiva.data.split_list import read_splits
from deepdiva.data.statistics import LEVELS, class_weights, moments_of_pixels
from deepdiva.data.tables import read_table
from deepdiva.data.workers import shared_out
from deepdiva.errors import UserError

CHUNK = 32
BINS = 24
MOST_SIZES = 10
EXPECTED = "images are expected in folders, one for each class, inside folders train, val and test or not"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Scope:
    """What of a data set is to be analysed, and how it is divided.

    Args:
        splits: A split list that says which samples there are and in which split; None goes by folders.
        fold: Which fold of the list.
        table: A CSV file that says more of every sample.
        label: The column of the table with the class.
        files: Pattern of the names that are samples; None takes images.
        group_by: What must not lie in several splits: a column of the table, or a regular expression with a group.
    """

    splits: str | None = None
    fold: int | None = None
    table: str | None = None
    label: str | None = None
    files: str | None = None
    group_by: str | None = None

    def apply(self, recorder: Recorder) -> tuple[Layout, tuple[str, ...] | None]:
        """The samples, and the group of each where groups are asked for."""
        table = None if self.table is None else read_table(self.table, label=self.label)
        if self.splits is None:
            layout = read_layout(recorder.names, recorder.folders, files=self.files, table=table)
        else:
            listed = read_splits(self.splits)
            layout = listed.layout(listed.choose(self.fold), recorder.names, recorder.folders)
            table = None if table is None else table.resolve(recorder.names)
        return layout, None if self.group_by is None else groups_of(layout, self.group_by, table=table)


def analyze(
    path: Path | str,
    scope: Scope | None = None,
    *,
    fresh: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """All that can be told of the images at `path`. Pixels are held one image at a time, whatever the set's size.

    Args:
        path: The data set; nothing is written into it.
        scope: Which samples, and how they are divided; None takes all images, divided by folders.
        fresh: Whether the images are looked at even where the result for the same content is remembered.
        workers: How many read at the same time; None takes as many as there are cores.
        progress: Is told how many images of how many are done.

    Raises:
        UserError: There are no samples, or the scope does not fit the data set.
    """
    asked = scope or Scope()
    root = existing_folder(Path(path), expected=EXPECTED)
    recorder = Recorder(root, source=os.fspath(path))
    layout, groups = asked.apply(recorder)
    known = None if fresh else recorder.known()
    found = None if known is None else recall(known.root, key_of(known.root, layout, groups))
    if found is None:
        found = _look(recorder, layout, groups, workers=workers, progress=progress)
    return _named(found, os.fspath(path), asked.group_by)


@dataclass
class _Tally:
    """What has been seen so far: a few numbers an image, and no pixels."""

    places: list[int] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)
    signatures: list[bytes] = field(default_factory=list)
    shapes: list[tuple[int, int]] = field(default_factory=list)
    modes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    gray: int = 0
    gray_in_rgb: int = 0
    blank: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    levels: Portion = field(default_factory=Portion)

    def add(self, place: int, name: str, image: Measured, content: str) -> None:
        """Takes note of one image."""
        self.places.append(place)
        self.contents.append(content)
        self.signatures.append(image.signature)
        self.shapes.append((image.height, image.width))
        self.modes[image.mode] += 1
        self.formats[image.format] += 1
        self.gray += not image.has_colours
        self.gray_in_rgb += image.looks_gray
        if image.is_blank:
            self.blank.append(name)


def _look(
    recorder: Recorder,
    layout: Layout,
    groups: Sequence[str] | None,
    *,
    workers: int | None,
    progress: Progress | None,
) -> Analysis:
    """The analysis of a data set whose images are all read."""
    tally = _tally(recorder, layout, workers=workers, progress=progress)
    duplicates = find_duplicates(
        layout,
        tally.places,
        tally.contents,
        tally.signatures,
        lambda names: shared_out(lambda name: pixel_digest(recorder.read_apart(name)[0]), names, workers=workers),
    )
    proof = recorder.collect()
    tally.unreadable |= {trouble.name: trouble.message for trouble in recorder.troubles}
    shapes = Counter(tally.shapes)
    sides = np.array(tally.shapes, dtype=np.float64).reshape(-1, 2)
    found = Analysis(
        source="",
        root=None if recorder.troubles else proof.root,
        decoder=decoder(),
        images=len(tally.places),
        size=sum(proof.files[name].size for name in layout.names if name in proof.files),
        other_files=len(recorder.names) - len(layout.names),
        channels=_channels(tally),
        classes=layout.classes,
        parts=tuple(_part(name, layout, tally) for name in _part_names(layout)),
        modes=dict(tally.modes.most_common()),
        formats=dict(tally.formats.most_common()),
        gray=tally.gray,
        gray_in_rgb=tally.gray_in_rgb,
        sizes=tuple((*shape, count) for shape, count in shapes.most_common(MOST_SIZES)),
        different_sizes=len(shapes),
        heights=_spread(sides[:, 0]),
        widths=_spread(sides[:, 1]),
        aspect_ratios=_spread(sides[:, 1] / sides[:, 0], by_ratio=True),
        blank=tuple(printable(name) for name in tally.blank),
        unreadable=tuple(Unreadable(printable(name), why) for name, why in sorted(tally.unreadable.items())),
        duplicates=duplicates,
        group_by=None,
        groups=0 if groups is None else len(set(groups)),
        straddling=() if groups is None else straddling_groups(layout, groups),
    )
    if found.root is not None:
        remember(found, key_of(found.root, layout, groups))
    return found


def _tally(recorder: Recorder, layout: Layout, *, workers: int | None, progress: Progress | None) -> _Tally:
    tally, total = _Tally(), len(layout.names)
    samples = list(zip(layout.names, layout.splits, strict=True))
    chunks = [samples[start : start + CHUNK] for start in range(0, total, CHUNK)]
    place = 0
    for portion in shared_out(lambda chunk: measure(chunk, recorder.read_apart), chunks, workers=workers):
        for image, hashed in zip(portion.images, portion.hashes, strict=True):
            name = layout.names[place]
            if hashed is not None:
                recorder.note(name, hashed)
            if isinstance(image, str):
                tally.unreadable[name] = image
            elif hashed is not None:
                tally.add(place, name, image, hashed[0])
            place += 1
        for (split, _), counts in portion.levels.items():
            tally.levels.add_levels(split, counts)
        if progress is not None:
            progress(place, total)
    if not tally.places:
        reasons = "; ".join(sorted(set(tally.unreadable.values()))[:3])
        raise UserError(f"none of {total} images can be read: {reasons}")
    return tally


def _channels(tally: _Tally) -> str:
    return "gray" if tally.gray == len(tally.places) else "rgb"


def _part_names(layout: Layout) -> list[str | None]:
    found = set(layout.splits)
    known: list[str | None] = [split for split in SPLITS if split in found]
    return known + sorted((split for split in found if split not in SPLITS), key=str)


def _part(split: str | None, layout: Layout, tally: _Tally) -> Part:
    """The numbers of one split."""
    bands = 1 if _channels(tally) == "gray" else 3
    levels: Levels = np.zeros((bands, LEVELS), dtype=np.int64)
    for (of, _), counts in tally.levels.levels.items():
        if of == split:
            levels = levels + counts  # gray counts for each of three channels
    readable = [place for place in tally.places if layout.splits[place] == split]
    labels = Counter(layout.labels[place] for place in readable)
    classes = tuple(labels[name] for name in layout.classes)
    moments = moments_of_pixels(levels)
    return Part(
        name=split or WHOLE,
        images=len(readable),
        members=members_digest([name for name, of in zip(layout.names, layout.splits, strict=True) if of == split]),
        pixels=int(levels[0].sum()),
        mean=moments.mean,
        std=moments.std,
        levels=tuple(map(tuple, levels.tolist())),
        classes=classes,
        class_weights=class_weights(classes),
    )


def _spread(values: npt.NDArray[np.float64], *, by_ratio: bool = False) -> Spread:
    low, high = float(values.min()), float(values.max())
    bins = 1 if low == high else min(BINS, len(np.unique(values)))
    edges = np.geomspace(low, high, bins + 1) if by_ratio else np.linspace(low, high, bins + 1)
    edges[0], edges[-1] = low, high
    counts = np.histogram(values, edges)[0] if low < high else np.array([len(values)])
    return Spread(low, high, float(np.median(values)), tuple(edges.tolist()), tuple(counts.tolist()))


def _named(found: Analysis, source: str, group_by: str | None) -> Analysis:
    """The same with what the user calls things: no part of what is remembered."""
    return replace(found, source=source, group_by=group_by)
