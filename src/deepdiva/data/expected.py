"""What a data set is expected to hold: the footprint written into it, remembered for its path, or kept by a run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deepdiva.data.changes import Changes, compare
from deepdiva.data.files import WRITTEN_PROOF, printable, reason
from deepdiva.data.footprint import Footprint, Recorder
from deepdiva.data.manifest import cache_directory, replace_file
from deepdiva.errors import UserError
from deepdiva.runs.integrity import open_proved
from deepdiva.runs.reading import largest, open_regular

SCHEMA = 1


@dataclass(frozen=True)
class Expectation:
    """What a data set should hold, and who says so.

    Args:
        root: The root digest: enough to see that nothing has changed.
        origin: Who says so, for people: `run 20261101T120000Z-a1b2c3`.
        read: Gives the whole footprint, which names the files; large, so only read where it is needed.
        is_written: Whether the data set says so itself.
    """

    root: str
    origin: str
    read: Callable[[], Footprint]
    is_written: bool = False

    @classmethod
    def of(cls, footprint: Footprint, origin: str, *, is_written: bool = False) -> Expectation:
        """A footprint that is at hand."""
        return cls(footprint.root, origin, lambda: footprint, is_written)

    def changes_to(self, found: Footprint) -> Changes:
        """How `found` differs from what is expected."""
        return Changes() if found.root == self.root else self.read().changes_to(found)


def check(
    expectation: Expectation, path: Path | str, *, deep: bool = False, threads: int | None = None
) -> tuple[Footprint, Changes]:
    """The footprint of the data set at `path` as it is now, and how it differs from what is expected.

    Args:
        expectation: What it should hold.
        path: The data set; nothing is written into it.
        deep: Whether every file is read, even those that seem untouched.
        threads: How many read at the same time; None takes as many as there are cores.

    Raises:
        UserError: There is nothing at `path`.
    """
    recorder = Recorder(path, deep=deep, threads=threads)
    found = recorder.collect()
    if not recorder.troubles:
        return found, expectation.changes_to(found)
    return found, compare(expectation.read().files, found.files, troubles=recorder.troubles)


def expectation_for(path: Path | str) -> Expectation | None:
    """What the data set at `path` should hold: the footprint written into it counts before the remembered one."""
    return written_into(path) or remembered(path)


def remember(footprint: Footprint, path: Path | str, *, origin: str) -> None:
    """Takes `footprint` as what the data set at `path` should hold from now on; a full disk is no trouble.

    It is kept in the user's cache, by the real path, and is safe to delete: the next run then has nothing to compare.
    """
    known = remembered(path)
    if known is not None and known.root == footprint.root:
        return
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    head = {"schema": SCHEMA, "root": footprint.root, "origin": origin, "time": now, "path": os.path.realpath(path)}
    with suppress(OSError):
        replace_file(_place(path), f"{json.dumps(head)}\n{footprint.to_json()}".encode())


def remembered(path: Path | str) -> Expectation | None:
    """The footprint that `remember` keeps for `path`; None where there is none, or a damaged one."""
    place = _place(path)
    try:
        with place.open("rb") as file:
            head = json.loads(file.readline())
        if head["schema"] != SCHEMA:
            return None
        return Expectation(head["root"], f"{head['origin']} on {head['time'][:10]}", lambda: _body_of(place))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def written_into(path: Path | str) -> Expectation | None:
    """The footprint that the data set at `path` carries in itself, where somebody wrote it.

    Raises:
        UserError: There is one, and it cannot be read or was altered.
    """
    file = Path(path) / WRITTEN_PROOF
    if not file.is_file():
        return None
    return Expectation.of(read_footprint(file), f"its own {WRITTEN_PROOF}", is_written=True)


def read_footprint(file: Path) -> Footprint:
    """The footprint in a file.

    Raises:
        UserError: The file cannot be read, or holds none.
    """
    try:
        with open_regular(file.resolve(), limit=largest("data")) as opened:
            return _parse(opened.read(), file)
    except OSError as error:
        raise UserError(f"{printable(str(file))} cannot be read: {reason(error)}") from error


def footprints_of_run(folder: Path) -> list[Footprint]:
    """The footprints that a run keeps of the files it read; none where it ended before it read any."""
    return [footprint for footprint in _all_footprints(folder) if footprint.kind != "contents"]


def made_by_run(folder: Path) -> list[Footprint]:
    """The footprints that a run keeps of data that were made and not read from files."""
    return [footprint for footprint in _all_footprints(folder) if footprint.kind == "contents"]


def _all_footprints(folder: Path) -> list[Footprint]:
    found = []
    for file in sorted((folder / "data").glob("footprint-*.json")):
        with open_proved(folder, f"data/{file.name}") as opened:
            found.append(_parse(opened.read(), file))
    return found


def fitting(footprints: Sequence[Footprint], path: Path | str) -> Footprint | None:
    """The one of `footprints` that was taken at `path`."""
    real = os.path.realpath(path)
    for footprint in footprints:
        if footprint.source == os.fspath(path) or os.path.realpath(footprint.source) == real:
            return footprint
    return None


def _parse(content: bytes, file: Path) -> Footprint:
    try:
        return Footprint.from_json(content.decode("ascii"))
    except UnicodeDecodeError as error:
        raise UserError(f"{printable(str(file))} is not a footprint: it is no plain text") from error
    except UserError as error:
        raise UserError(f"{printable(str(file))}: {error.message}", error.hint) from error


def _place(path: Path | str) -> Path:
    key = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:32]
    return cache_directory() / "expected" / f"{key}.json"


def _body_of(place: Path) -> Footprint:
    try:
        return Footprint.from_json(place.read_text("ascii").partition("\n")[2])
    except (OSError, UserError) as error:
        hint = "`deepdiva data footprint PATH` takes it anew"
        raise UserError(f"{place}, the footprint remembered of a data set, is damaged", hint) from error
