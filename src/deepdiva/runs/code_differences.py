"""Files of the source that differ between two runs, with the lines that changed, from the copies that they keep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deepdiva.runs.difference import Difference, one_sided, printable, shortened, table
from deepdiva.runs.renames import renamed
from deepdiva.runs.source_archive import FILE_LIMIT, read_sources
from deepdiva.runs.text_changes import hunks, is_layout_only

if TYPE_CHECKING:
    from deepdiva.runs.folder import RunFolder

RECORD = "code/code.json"
READ_FILES = 100
"""Changed files whose lines are compared; beyond that only their names are given."""
_PEOPLE = (".md", ".rst", "LICENSE", "CITATION.cff", ".gitignore", ".gitattributes")  # read by people and by git
_SETTINGS = (".yaml", ".yml", ".toml", ".json", ".cfg", ".ini", ".sh")

Entry = Mapping[str, Any]


def code_differences(a: RunFolder, b: RunFolder) -> list[Difference]:
    """Every file of the source that was changed, added, removed or renamed; Python files first.

    Raises:
        StorageError: The record of the code is damaged.
    """
    ours, theirs = a.document(RECORD), b.document(RECORD)
    if ours is None or theirs is None:
        return one_sided("code", RECORD, (ours, theirs), "only one of the two has a copy of its code")
    found = [*_of_files(a, b, _files(ours), _files(theirs)), *_of_left_out(ours, theirs)]
    shown = shortened(sorted(found, key=_order), "files")
    commits = [table(record.get("git")).get("commit") for record in (ours, theirs)]
    if found and commits[0] != commits[1]:
        note = "commits {} and {}".format(*(printable(str(commit))[:12] for commit in commits))
        return [_with_note(shown[0], note), *shown[1:]]
    return shown


def _files(record: Mapping[str, Any]) -> dict[str, Entry]:
    return {str(name): table(entry) for name, entry in table(record.get("files")).items()}


def _of_files(
    a: RunFolder, b: RunFolder, ours: Mapping[str, Entry], theirs: Mapping[str, Entry]
) -> Iterator[Difference]:
    changed = sorted(name for name in ours.keys() & theirs.keys() if _content(ours[name]) != _content(theirs[name]))
    readable = sorted((name for name in changed if _is_readable(ours[name], theirs[name])), key=_rank)[:READ_FILES]
    texts = [
        read_sources(run, {name: str(files[name]["sha256"]) for name in readable})
        for run, files in ((a, ours), (b, theirs))
    ]
    for name in changed:
        yield _changed(name, ours[name], theirs[name], texts[0].get(name), texts[1].get(name))
    for name in sorted(ours.keys() & theirs.keys() - set(changed)):
        modes = ours[name].get("mode"), theirs[name].get("mode")
        if modes[0] != modes[1]:
            left, right = (printable(f"mode {mode}") for mode in modes)
            yield _difference(name, left, right, "can be executed, or no longer")
    removed = {name: _content(ours[name]) for name in ours.keys() - theirs.keys()}
    added = {name: _content(theirs[name]) for name in theirs.keys() - ours.keys()}
    moved = dict(renamed(removed, added))
    for old, new in moved.items():
        yield _difference(old, printable(old), printable(new), "the same content has another name")
    for name in removed.keys() - moved.keys():
        yield _difference(name, _text(ours[name]), None, "only A has this file")
    for name in added.keys() - set(moved.values()):
        yield _difference(name, None, _text(theirs[name]), "only B has this file")


def _changed(name: str, ours: Entry, theirs: Entry, a: bytes | None, b: bytes | None) -> Difference:
    values = _text(ours), _text(theirs)
    if a is None or b is None:
        return _difference(name, *values, "has another content, which is not shown")
    if name.endswith((".py", ".pyi")) and is_layout_only(a, b):
        detail = f"only comments, blank lines and spaces differ\n{hunks(a, b)}"
        return _difference(name, *values, detail, harmless=True)
    return _difference(name, *values, hunks(a, b) or "has another content, which is no text")


def _of_left_out(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    """Files that no copy holds: all that is known of them is the size, of submodules the commit."""
    ours, theirs = _left_out(a), _left_out(b)
    for name in sorted(ours.keys() | theirs.keys()):
        left, right = ours.get(name), theirs.get(name)
        if left != right and not any(name in table(record.get("files")) for record in (a, b)):
            yield _difference(name, left, right, "is too big, or too secret, to be copied: its content is not known")


def _left_out(record: Mapping[str, Any]) -> dict[str, str]:
    """What is known of everything left out; patterns that only count files of no kind of source are no part of it."""
    entries = record.get("left_out")
    found = {}
    for entry in map(table, entries if isinstance(entries, list) else ()):
        reason = str(entry.get("reason", "")).removesuffix("; unchanged since the commit")
        if reason.startswith(("over ", "a submodule")):
            size = f", {entry['size']} bytes" if "size" in entry else ""
            found[str(entry.get("path"))] = printable(f"{reason}{size}")
    return found


def _content(entry: Entry) -> tuple[str, str]:
    """What makes two entries the same file; the mode is compared apart."""
    return str(entry.get("sha256")), str(entry.get("link"))


def _text(entry: Entry) -> str:
    if "link" in entry:
        return printable(f"link to {entry['link']}")
    return printable(f"{entry.get('size')} bytes, sha256 {str(entry.get('sha256'))[:12]}")


def _is_readable(*entries: Entry) -> bool:
    sizes = [entry.get("size") for entry in entries]
    return all(isinstance(size, int) and size <= FILE_LIMIT for size in sizes) and all("sha256" in e for e in entries)


def _difference(name: str, a: str | None, b: str | None, detail: str, *, harmless: bool = False) -> Difference:
    quiet = harmless or name.endswith(_PEOPLE)
    return Difference("code", printable(name), a, b, detail, quiet, part="file")


def _rank(name: str) -> tuple[int, str]:
    """Python files first, then what may hold settings."""
    return (0 if name.endswith(".py") else 1 if name.endswith(_SETTINGS) else 2), name


def _order(difference: Difference) -> tuple[bool, int, bool, str]:
    rank, name = _rank(difference.what)
    return difference.harmless, rank, difference.a is None or difference.b is None, name


def _with_note(difference: Difference, note: str) -> Difference:
    return replace(difference, detail=f"{difference.detail}\n({note})")
