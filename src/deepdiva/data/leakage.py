"""What stands where it should not: the same content twice, and groups on both sides of a split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from deepdiva.data.files import printable
from deepdiva.data.layout import Layout


@dataclass(frozen=True)
class Duplicates:
    """Files that show the same.

    Args:
        files: Their names, sorted.
        splits: The split of each; None where there are no splits.
        classes: The class of each; None where there are no classes.
        same_bytes: Whether the files are equal; otherwise only their pixels are.
    """

    files: tuple[str, ...]
    splits: tuple[str | None, ...]
    classes: tuple[str | None, ...]
    same_bytes: bool

    @property
    def crosses_splits(self) -> bool:
        """Whether they lie in several splits: what is learned is then also tested."""
        return len(set(self.splits)) > 1

    @property
    def crosses_classes(self) -> bool:
        """Whether they lie in several classes: one of the labels must be wrong."""
        return len(set(self.classes)) > 1


@dataclass(frozen=True)
class StraddlingGroup:
    """A group, such as a writer, whose samples lie in several splits.

    Args:
        group: Its name.
        samples: The number of its samples in each split that has some.
    """

    group: str
    samples: Mapping[str, int]


def find_duplicates(
    layout: Layout,
    places: Sequence[int],
    contents: Sequence[str],
    signatures: Sequence[bytes],
    pixels_of: Callable[[Sequence[str]], Iterable[Hashable]],
) -> tuple[Duplicates, ...]:
    """All sets of images with the same pixels, sorted by their first names; they may differ in format and metadata.

    Args:
        layout: Names, classes and splits.
        places: The places in `layout` of the images that could be read.
        contents: The hash of the file of each of these.
        signatures: Something that is equal for equal pixels, of each of these.
        pixels_of: Something that is equal for equal pixels only, for some names; asked where signatures are equal
            and files are not.
    """
    found: list[Duplicates] = []
    for alike in _alike(signatures):
        by_content = _by(alike, [contents[place] for place in alike])
        if len(by_content) == 1:
            found.append(_duplicates(layout, [places[place] for place in alike], same_bytes=True))
            continue
        firsts = [equal[0] for equal in by_content]
        digests = list(pixels_of([layout.names[places[first]] for first in firsts]))
        for same in _by(range(len(firsts)), digests):
            members = [places[place] for number in same for place in by_content[number]]
            if len(members) > 1:
                found.append(_duplicates(layout, members, same_bytes=len(same) == 1))
    return tuple(sorted(found, key=lambda duplicates: duplicates.files))


def straddling_groups(layout: Layout, groups: Sequence[str]) -> tuple[StraddlingGroup, ...]:
    """The groups that lie in several splits, the largest first."""
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for group, split in zip(groups, layout.splits, strict=True):
        if split is not None:
            counts[group][split] = counts[group].get(split, 0) + 1
    found = [StraddlingGroup(printable(group), dict(of)) for group, of in counts.items() if len(of) > 1]
    return tuple(sorted(found, key=lambda group: (-sum(group.samples.values()), group.group)))


def _alike(signatures: Sequence[bytes]) -> list[list[int]]:
    """The places of every signature that occurs more than once."""
    first: dict[bytes, int] = {}
    more: dict[bytes, list[int]] = {}
    for place, signature in enumerate(signatures):
        # Most signatures occur once: no list is made for those.
        earlier = first.setdefault(signature, place)
        if earlier != place:
            more.setdefault(signature, [earlier]).append(place)
    return list(more.values())


def _by(items: Iterable[int], keys: Sequence[Hashable]) -> list[list[int]]:
    """The items, those with the same key together."""
    together: dict[Hashable, list[int]] = {}
    for item, key in zip(items, keys, strict=True):
        together.setdefault(key, []).append(item)
    return list(together.values())


def _duplicates(layout: Layout, places: Sequence[int], *, same_bytes: bool) -> Duplicates:
    ordered = sorted(places)
    return Duplicates(
        tuple(layout.names[place] for place in ordered),
        tuple(layout.splits[place] for place in ordered),
        tuple(layout.labels[place] for place in ordered),
        same_bytes,
    )
