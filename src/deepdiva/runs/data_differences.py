"""Files, splits and statistics of the data that differ between two runs, from the footprints that they keep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from deepdiva.runs.difference import Difference, is_same, printable, shortened, table, written
from deepdiva.runs.renames import renamed
from deepdiva.runs.storage import StorageError

if TYPE_CHECKING:
    from deepdiva.runs.folder import RunFolder

Files = Mapping[str, tuple[int, str]]
"""Size in bytes and SHA-256 of every file."""


def data_differences(a: RunFolder, b: RunFolder) -> list[Difference]:
    """Every file that differs, then every sample that is in another split, then the statistics.

    Raises:
        StorageError: A record in `data/` is damaged.
    """
    of_files = list(_footprint_differences(footprints(a), footprints(b)))
    known = {name for item in of_files for name in (item.what, item.what.partition(": ")[2], item.b)}
    of_splits = _split_differences(_document(a, "membership"), _document(b, "membership"), known)
    of_numbers = _statistics_differences(_document(a, "statistics"), _document(b, "statistics"))
    return [*shortened(of_files, "files"), *shortened(of_splits, "samples"), *of_numbers]


def footprints(run: RunFolder) -> list[tuple[str, Files]]:
    """Source and files of every footprint that a run keeps, in the order in which they were taken.

    Raises:
        StorageError: One is damaged.
    """
    names = [name for name in run.names("data") if name.startswith("footprint-") and name.endswith(".json")]
    found: list[tuple[str, Files]] = []
    for name in sorted(names, key=lambda name: (len(name), name)):  # footprint-10 after footprint-9
        content = run.document(f"data/{name}") or {}
        try:
            files = {str(file): (int(size), str(sha256)) for file, size, sha256 in content["files"]}
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(f"{run.path / 'data' / name} is no footprint", "restore it from a copy") from error
        found.append((str(content.get("source", "")), files))
    return found


def _footprint_differences(a: list[tuple[str, Files]], b: list[tuple[str, Files]]) -> Iterator[Difference]:
    for place, (ours, theirs) in enumerate(zip_longest(a, b)):
        if ours is None or theirs is None:
            source = printable((ours or theirs)[0]) or f"footprint {place}"
            left, right = (None if side is None else f"{len(side[1])} files" for side in (ours, theirs))
            yield Difference("data", source, left, right, "only one of the two read it", part="file")
        elif ours[1] != theirs[1]:
            prefix = f"{printable(ours[0])}: " if len(a) > 1 else ""
            yield from _file_differences(ours[1], theirs[1], prefix)


def _file_differences(a: Files, b: Files, prefix: str) -> Iterator[Difference]:
    def difference(name: str, left: str | None, right: str | None, detail: str) -> Difference:
        return Difference("data", f"{prefix}{printable(name)}", left, right, detail, part="file")

    removed = {name: a[name] for name in a if name not in b}
    added = {name: b[name] for name in b if name not in a}
    moved = dict(renamed(removed, added))
    new_names = set(moved.values())
    for name in sorted(name for name in a if name in b and a[name] != b[name]):
        yield difference(name, _content(a[name]), _content(b[name]), "has another content")
    for name, new in moved.items():
        yield difference(name, printable(name), printable(new), _move(name, new))
    for name in sorted(removed.keys() - moved.keys()):
        yield difference(name, _content(a[name]), None, "only A read it")
    for name in sorted(added.keys() - new_names):
        yield difference(name, None, _content(b[name]), "only B read it")


def _content(entry: tuple[int, str]) -> str:
    return f"{entry[0]} bytes, sha256 {printable(entry[1][:12])}"


def _move(old: str, new: str) -> str:
    folders = [name.rpartition("/")[0] for name in (old, new)]
    if folders[0] == folders[1]:
        return "the same content has another name"
    return "the same content is in another folder: another class or split, where folders are these"


def _split_differences(
    a: Mapping[str, Any] | None, b: Mapping[str, Any] | None, known: set[str | None]
) -> Iterator[Difference]:
    """Samples that are in another split, then splits in another order; those of changed files are told already."""
    ours, theirs = _places(a), _places(b)
    if not ours or not theirs:
        return
    for name in sorted(ours.keys() | theirs.keys()):
        left, right = ours.get(name), theirs.get(name)
        if left != right and not (None in (left, right) and name in known):
            yield Difference("data", printable(name), left, right, _membership(left, right), part="split")
    for split in sorted(table(a).keys() & table(b).keys()):
        yield from _order_differences(printable(split), _names(table(a)[split]), _names(table(b)[split]))


def _order_differences(split: str, a: list[str], b: list[str]) -> Iterator[Difference]:
    """The first place at which the same samples stand in another order: batches are drawn by place."""
    if a != b and sorted(a) == sorted(b):
        place = next(place for place, (left, right) in enumerate(zip(a, b, strict=True)) if left != right)
        detail = f"first at place {place}"
        yield Difference("data", f"order of {split}", printable(a[place]), printable(b[place]), detail, part="split")


def _names(value: Any) -> list[str]:
    return list(map(str, value)) if isinstance(value, list) else []


def _places(membership: Mapping[str, Any] | None) -> dict[str, str]:
    """For every sample the splits that it is in."""
    found: dict[str, str] = {}
    for split, names in table(membership).items():
        for name in dict.fromkeys(_names(names)):
            found[name] = f"{found[name]}, {printable(split)}" if name in found else printable(split)
    return found


def _membership(a: str | None, b: str | None) -> str:
    if a is None or b is None:
        return f"only {'A' if b is None else 'B'} has this sample"
    return "the sample is in another split"


def _statistics_differences(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> list[Difference]:
    ours, theirs = table(a), table(b)
    if a is None or b is None:
        return []
    names = [name for name in dict.fromkeys([*ours, *theirs]) if not is_same(ours.get(name), theirs.get(name))]
    return [
        Difference("data", f"statistics.{printable(name)}", _value(ours, name), _value(theirs, name), part="statistics")
        for name in names
    ]


def _value(statistics: Mapping[str, Any], name: str) -> str | None:
    return written(statistics[name]) if name in statistics else None


def _document(run: RunFolder, name: str) -> Mapping[str, Any] | None:
    return run.document(f"data/{name}.json")
