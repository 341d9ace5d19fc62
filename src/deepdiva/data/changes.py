"""What differs between two states of a data set, file by file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from deepdiva.data.files import Trouble, printable
from deepdiva.errors import Problem
from deepdiva.runs.renames import renamed

Content: TypeAlias = tuple[int, str]
"""Size of a file and SHA-256 of its content."""


@dataclass(frozen=True)
class Changes:
    """What differs between a footprint and a data set; false when nothing does.

    Args:
        added: New files.
        removed: Files that are gone.
        changed: Files with other content.
        renamed: Old and new names of files that are elsewhere now with the same content (another class, say).
        unreadable: Files that could not be checked.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    unreadable: tuple[Problem, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.renamed or self.unreadable)

    def problems(self) -> list[Problem]:
        """Every difference as a line that names the file."""
        return [
            *(Problem("has changed", printable(name)) for name in self.changed),
            *(Problem("is gone", printable(name)) for name in self.removed),
            *(Problem("is new", printable(name)) for name in self.added),
            *(Problem(f"is now {printable(new)}", printable(old)) for old, new in self.renamed),
            *self.unreadable,
        ]


def compare(
    expected: Mapping[str, Content], found: Mapping[str, Content], *, troubles: Sequence[Trouble] = ()
) -> Changes:
    """How the files `found` differ from those `expected`; what lies in `troubles` is called unreadable, not gone."""
    if not troubles and expected == found:
        return Changes()
    blind = {trouble.name for trouble in troubles}
    removed = {
        name: entry
        for name, entry in expected.items()
        if name not in found and not (blind and blind.intersection(_path_to(name)))
    }
    added = {name: entry for name, entry in found.items() if name not in expected}
    changed = [name for name, entry in expected.items() if found.get(name, entry) != entry]
    moved = renamed(removed, added)
    return Changes(
        added=tuple(sorted(added.keys() - {new for _, new in moved})),
        removed=tuple(sorted(removed.keys() - {old for old, _ in moved})),
        changed=tuple(sorted(changed)),
        renamed=tuple(moved),
        unreadable=tuple(trouble.problem for trouble in troubles),
    )


def _path_to(name: str) -> Iterator[str]:
    """`name` and all folders that it is in."""
    while name:
        yield name
        name = name.rpartition("/")[0]
