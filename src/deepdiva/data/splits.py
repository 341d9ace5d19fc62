"""Splits of a data set: which sample goes where, the same on every platform and for every version of numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from deepdiva.errors import UserError

Indices = npt.NDArray[np.int64]


def random_order(size: int, *, seed: int) -> Indices:
    """A permutation of `range(size)` that depends on `size` and `seed` alone.

    Raw 64-bit draws are sorted: numpy promises that these never change, while `Generator.permutation` may.
    """
    return np.argsort(_keys(size, seed=seed), kind="stable").astype(np.int64)


def counts_of(size: int, fractions: Sequence[float]) -> tuple[int, ...]:
    """Whole numbers that add up to `size`, as near to `fractions` as can be (largest remainder first).

    Raises:
        UserError: A fraction lies outside 0 … 1, or they do not add up to 1.
    """
    if any(not 0 <= fraction <= 1 for fraction in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(f"fractions {list(fractions)} are not a split", "give numbers from 0 to 1 that add up to 1")
    # Rounding before the floor keeps 0.7 * 10 at 7 where binary fractions would give 6.999….
    exact = [round(fraction * size, 6) for fraction in fractions]
    counts = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda place: (counts[place] - exact[place], place))
    for place in by_remainder[: size - sum(counts)]:
        counts[place] += 1
    return tuple(counts)


def split_off(size: int, fraction: float) -> tuple[int, int]:
    """The sizes of `train` and of a `val` that is split off from it; both hold something.

    Raises:
        UserError: One of them would be empty.
    """
    if not 0 < fraction < 1:
        raise UserError(f"val_fraction {fraction} leaves nothing on one side", "give a number between 0 and 1")
    train, val = counts_of(size, (1 - fraction, fraction))
    if train == 0 or val == 0:
        raise UserError(
            f"{size} training samples are too few to split off a fraction of {fraction} for validation",
            "add samples, give a split val, or raise val_fraction",
        )
    return train, val


def stratified(
    labels: Sequence[object] | npt.NDArray[np.generic], counts: Sequence[int], *, seed: int
) -> list[Indices]:
    """One sorted array of indices for each of `counts`, with the classes in the same proportion everywhere.

    Every class, in random order, is spread evenly over the line from 0 to 1; all samples are then sorted by their
    place on it and cut into parts. So the parts have exactly the asked sizes, no class is off by more than one
    sample from its share where parts and classes are proportional, and a first part of more than half of the
    samples holds every class, even one of a single sample.

    Args:
        labels: The class of every sample: numbers or names.
        counts: The size of every part, together the number of samples; `counts_of` makes them from fractions.
        seed: Chooses among the possible splits.

    Raises:
        UserError: `counts` do not add up to the number of samples.
    """
    classes = np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1)
    size = len(classes)
    if sum(counts) != size or any(count < 0 for count in counts):
        raise UserError(f"parts of {list(counts)} samples cannot be made of {size} samples")
    keys = _keys(size, seed=seed)
    order = np.lexsort((keys, classes))
    sizes = np.bincount(classes) if size else np.zeros(0, dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    ranks = np.arange(size) - starts[classes[order]]
    places = np.empty(size)
    places[order] = (ranks + 0.5) / sizes[classes[order]]
    line = np.lexsort((keys, places))
    parts = np.split(line, np.cumsum(counts)[:-1])
    return [np.sort(part).astype(np.int64) for part in parts]


def grouped(
    labels: Sequence[object] | npt.NDArray[np.generic],
    groups: Sequence[object] | npt.NDArray[np.generic],
    counts: Sequence[int],
    *,
    seed: int,
    least: int = 1,
) -> list[Indices]:
    """As `stratified`, but all samples of a group stay in one part: sizes and proportions are as near as groups allow.

    Groups are placed one by one, large ones first, each where it brings the numbers of its classes, and the number
    of all samples, nearest to what is asked. No part that should hold something stays empty, or below `least` groups.

    Args:
        labels: The class of every sample: numbers or names.
        groups: The group of every sample: numbers or names.
        counts: The wished size of every part, together the number of samples.
        seed: Chooses among the possible splits.
        least: Groups that each part holds at the least, except those that should hold nothing.

    Raises:
        UserError: There are fewer groups than the parts need, or `counts` do not add up to the number of samples.
    """
    places = np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)
    classes = np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1)
    wanted = sum(count > 0 for count in counts)
    number = int(places.max()) + 1 if len(places) else 0
    if sum(counts) != len(places) or len(classes) != len(places) or any(count < 0 for count in counts):
        raise UserError(f"parts of {list(counts)} samples cannot be made of {len(places)} samples")
    if number < wanted * least:
        each = "" if least == 1 else f" of at least {least} groups"
        raise UserError(f"{number} groups cannot be split into {wanted} parts{each}", "ask for fewer parts")
    part_of = _place_groups(places, classes, np.asarray(counts, dtype=np.float64), seed=seed, least=least)
    chosen = part_of[places]
    return [np.flatnonzero(chosen == part).astype(np.int64) for part in range(len(counts))]


def _place_groups(
    groups: Indices, classes: Indices, counts: npt.NDArray[np.float64], *, seed: int, least: int
) -> Indices:
    """The part of every group."""
    sizes = np.bincount(groups)
    totals = np.bincount(classes).astype(np.float64)
    # The last column counts all samples, as one more class that everything belongs to.
    missing = np.outer(counts / counts.sum(), np.append(totals, len(classes)))
    weights = 1 / np.append(totals, len(classes))
    # Random among groups of about one size: the order by size alone would leave nothing for the seed to choose.
    order = np.lexsort((_keys(len(sizes), seed=seed), -np.floor(np.log2(sizes))))
    by_group = np.split(classes[np.argsort(groups, kind="stable")], np.cumsum(sizes)[:-1])
    part_of = np.zeros(len(sizes), dtype=np.int64)
    parts = np.flatnonzero(counts > 0).tolist()
    lacking = dict.fromkeys(parts, least)
    for rank, group in enumerate(order.tolist()):
        kinds, amounts = np.unique(by_group[group], return_counts=True)
        columns, added = np.append(kinds, len(totals)), np.append(amounts, sizes[group])
        # How much the squared distance to what is asked grows in each part.
        growth = ((added - 2 * missing[:, columns]) * added * weights[columns]).sum(axis=1)
        must = [place for place in parts if lacking[place]] if len(sizes) - rank <= sum(lacking.values()) else parts
        part = min(must, key=lambda place: (growth[place], place))
        part_of[group] = part
        missing[part, columns] -= added
        lacking[part] = max(0, lacking[part] - 1)
    return part_of


def _keys(size: int, *, seed: int) -> npt.NDArray[np.uint64]:
    if seed < 0:
        raise UserError(f"seed {seed} of a split is negative", "give a whole number of 0 or more")
    return np.random.PCG64(np.random.SeedSequence(seed)).random_raw(size)
