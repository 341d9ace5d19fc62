"""A table of all runs, quick at any number: a cache in SQLite that is rebuilt whenever it is missing, old or broken."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import operator
import os
import re
import sqlite3
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepdiva.errors import UserError, did_you_mean
from deepdiva.runs.folder import duration, is_alive
from deepdiva.runs.record import NAME, read_record

FILE = ".index.sqlite"
_VERSION = 2  # of the table below; a cache of another version is thrown away
_FACTS = ["id", "experiment", "status", "kind", "parent", "task", "data", "seed", "created", "finished", "duration"]
_COLUMNS = ["folder", "stamp", *_FACTS, "results", "best", "process", "proof"]
_Facts = tuple[Any, ...]
"""The values of `_FACTS`, then results and best score as JSON, and, of a run that works, who works on it."""


@dataclass(frozen=True)
class Row:
    """One run in the table.

    Args:
        folder: Its folder.
        id: The name that no other run has.
        experiment: The experiment it belongs to.
        status: `running`, `completed`, `failed`, `interrupted`, or `unreadable`.
        kind: `run`, or what else made it.
        parent: The run or study that it belongs to.
        task: The task's name.
        data: Where the data came from.
        seed: The seed.
        created: When it began.
        finished: When it ended.
        duration: Seconds of work; for a run that goes on or was killed, up to its last sign of life.
        results: Final numbers, such as `test/accuracy`.
        best: The best epoch: `epoch`, `step`, `metric`, `value`.
    """

    folder: str
    id: str
    experiment: str
    status: str
    kind: str | None = None
    parent: str | None = None
    task: str | None = None
    data: str | None = None
    seed: int | None = None
    created: str | None = None
    finished: str | None = None
    duration: float | None = None
    results: Mapping[str, float] = field(default_factory=dict)
    best: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Its folder."""
        return Path(self.folder)

    def value(self, key: str) -> Any:
        """A fact by its name (`status`, `seed`), a result (`test/accuracy`), or the best score (`best`); else None."""
        if key in _FACTS or key == "folder":
            return getattr(self, key)
        if key == "best":
            return self.best.get("value")
        return self.results.get(key)


_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True)
class Condition:
    """What a row must fulfil, such as `test/accuracy>0.9` or `status=failed`."""

    key: str
    sign: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """The condition in a text: a key, one of `= != > >= < <=`, and a value."""
        match = re.fullmatch(r"\s*([^=<>!\s]+)\s*(==|!=|>=|<=|=|>|<)\s*(.*?)\s*", text)
        if not match:
            raise UserError(f"'{text}' is no condition", "write it as in test/accuracy>0.9 or status=failed")
        key, sign, value = match.groups()
        return cls(key, "=" if sign == "==" else sign, value)

    def holds(self, row: Row) -> bool:
        """Whether a row fulfils it; a row without the value fulfils `!=` only."""
        actual = row.value(self.key)
        if actual is None:
            return self.sign == "!="
        if isinstance(actual, int | float):
            return _OPERATORS[self.sign](actual, self.number())
        return _OPERATORS[self.sign](str(actual), self.value)

    def number(self) -> float:
        """The value to compare numbers with."""
        try:
            return float(self.value)
        except ValueError:
            raise UserError(f"{self.key} is a number, and '{self.value}' is none") from None


def rows(
    runs_dir: Path | str = "runs", *, where: Sequence[Condition] = (), sort: str = "created", limit: int | None = None
) -> list[Row]:
    """All runs below a folder that fulfil every condition.

    Args:
        runs_dir: The folder of all runs.
        where: The conditions.
        sort: What they are ordered by, any key of `Row.value`; with `-` before it the largest first. Runs without
            that value come last.
        limit: How many to give at most.
    """
    table = [row for row in read_rows(Path(runs_dir)) if all(condition.holds(row) for condition in where)]
    key = sort.removeprefix("-")
    present = [row for row in table if row.value(key) is not None]
    if table and not present and key not in _FACTS:
        known = {*_FACTS, "best", "folder", *(name for row in table for name in row.results)}
        raise UserError(f"no run has '{key}' to sort by", did_you_mean(key, known))
    # A result is mostly a number; where some run has a text instead, that stands behind.
    present.sort(key=lambda row: (isinstance(row.value(key), str), row.value(key)), reverse=sort.startswith("-"))
    return [*present, *(row for row in table if row.value(key) is None)][:limit]


def read_rows(runs_dir: Path) -> list[Row]:
    """All runs below a folder, oldest first."""
    stamps = dict(_scan(runs_dir))
    try:
        with contextlib.closing(_open(runs_dir / FILE)) as cache, cache:
            facts = _refresh(cache, runs_dir, stamps)
    except sqlite3.Error:  # locked, read-only, broken beyond repair: the folders are the truth
        facts = {folder: _read_facts(runs_dir / folder) for folder in stamps}
    root = f"{runs_dir}{os.sep}"
    return [_row(root + folder, values) for folder, values in sorted(facts.items(), key=lambda item: item[1][0])]


def _scan(runs_dir: Path) -> Iterator[tuple[str, str]]:
    """Every run below a folder, and what changes when its record does."""
    for experiment in _folders(runs_dir):
        for run in _folders(experiment):
            with contextlib.suppress(OSError):
                state = os.stat(f"{run.path}{os.sep}{NAME}")  # noqa: PTH116  (a Path costs more than the call)
                stamp = f"{state.st_mtime_ns} {state.st_size} {state.st_ino}"
                yield f"{experiment.name}{os.sep}{run.name}", stamp


def _folders(path: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []


def _open(path: Path) -> sqlite3.Connection:
    """The cache with its table; a broken one is replaced by an empty one."""
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        raise sqlite3.OperationalError("a link could lead to any database")  # the folders are the truth
    for attempt in range(2):
        cache = sqlite3.connect(path, timeout=2.0)
        try:
            cache.execute("PRAGMA synchronous = OFF")  # a cache need not survive a power cut
            cache.execute("PRAGMA trusted_schema = OFF")  # the file may have come with a stranger's runs
            if cache.execute("PRAGMA user_version").fetchone() != (_VERSION,):
                cache.execute("DROP TABLE IF EXISTS runs")
                cache.execute(f"CREATE TABLE runs ({', '.join(_COLUMNS)}, PRIMARY KEY (folder))")
                cache.execute(f"PRAGMA user_version = {_VERSION}")
            return cache
        except sqlite3.OperationalError:
            cache.close()
            raise
        except sqlite3.DatabaseError:  # not a database, or a damaged one
            cache.close()
            if attempt:
                raise
            path.unlink(missing_ok=True)
    raise AssertionError


def _refresh(cache: sqlite3.Connection, runs_dir: Path, stamps: Mapping[str, str]) -> dict[str, _Facts]:
    """Bring the cache up to date and give its content."""
    facts = {}
    gone = []
    for folder, stamp, *values, check in cache.execute(f"SELECT {', '.join(_COLUMNS)} FROM runs"):
        if stamps.get(folder) == stamp and check == _check(folder, values):
            facts[folder] = tuple(values)
        elif folder not in stamps:
            gone.append((folder,))
    fresh = {folder: _read_facts(runs_dir / folder) for folder in stamps if folder not in facts}
    if fresh or gone:
        cache.executemany("DELETE FROM runs WHERE folder = ?", gone)
        marks = ", ".join("?" * len(_COLUMNS))
        table = [(folder, stamps[folder], *values, _check(folder, values)) for folder, values in fresh.items()]
        cache.executemany(f"INSERT OR REPLACE INTO runs VALUES ({marks})", table)
    return facts | fresh


def _check(folder: str, values: Sequence[Any]) -> int:
    """What tells a row that is as it was written from one that the disk has changed."""
    return zlib.crc32(repr((folder, *values)).encode())


def _read_facts(folder: Path) -> _Facts:
    try:
        record = read_record(folder)
    except UserError:
        record = {"id": folder.name, "experiment": folder.parent.name, "status": "unreadable"}
    working = record.get("status") == "running"
    process = {key: record.get(key) for key in ("pid", "host", "created", "resumed")} if working else None
    extra = [record.get("results") or None, record.get("best") or None, process]
    return (*(record.get(name) for name in _FACTS), *(None if part is None else json.dumps(part) for part in extra))


def _row(folder: str, facts: _Facts) -> Row:
    *values, results, best, process = facts
    row = Row(folder, *values, *(json.loads(part) if part else {} for part in (results, best)))
    if row.status == "running" and not is_alive(row.path, json.loads(process)):
        row = dataclasses.replace(row, status="interrupted")
    if row.duration is None and row.created is not None:
        row = dataclasses.replace(row, duration=duration(row.path, {"created": row.created}))
    return row
