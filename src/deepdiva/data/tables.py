"""Tables beside a data set: one line a sample, with its class, its writer, or whatever else is known of it."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepdiva.data.files import printable, reason, to_errors
from deepdiva.errors import Problem, UserError, did_you_mean

FILE_COLUMNS = ("file", "path", "name", "filename", "file_name", "image")
LABEL_COLUMNS = ("label", "class", "target", "category")
SPLIT_COLUMNS = ("split",)


@dataclass(frozen=True)
class SampleTable:
    """What a table says of every sample.

    Args:
        source: The file that it was read from.
        columns: Titles, in the order of the file.
        rows: The cells of every line by the name of its sample.
        lines: The line of the file that each came from.
        label: The column with the class; None where there is none.
        split: The column with the split; None where there is none.
    """

    source: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[str, ...]]
    lines: Mapping[str, int]
    label: str | None = None
    split: str | None = None

    def value(self, name: str, column: str) -> str:
        """The cell of a sample in a column."""
        return self.rows[name][self.columns.index(column)]

    def resolve(self, names: Sequence[str]) -> SampleTable:
        """The same with every name written as in the data set; a name without folders may stand for a file in one.

        Raises:
            UserErrors: Names that no file of the data set has, or several; all of them.
        """
        known = set(names)
        by_base: dict[str, list[str]] = {}
        for name in names:
            by_base.setdefault(name.rpartition("/")[2], []).append(name)
        full: dict[str, str] = {}
        problems: list[Problem] = []
        for name in self.rows:
            found = [name] if name in known else by_base.get(name, [])
            if len(found) == 1:
                full[name] = found[0]
            else:
                what = "fits several files" if found else "is no sample of the data set"
                problems.append(Problem(f"{printable(name)} {what}", f"{self.source}:{self.lines[name]}"))
        if problems:
            raise to_errors(problems, f"{self.source} does not fit the data set")
        return replace(
            self,
            rows={full[name]: row for name, row in self.rows.items()},
            lines={full[name]: line for name, line in self.lines.items()},
        )


def read_table(path: Path | str, *, label: str | None = None) -> SampleTable:
    """The table in a CSV file with a header; `;` and tabs may stand between the cells.

    The column of the samples is called `file`, `path`, `name`, `filename`, `file_name` or `image`, or is the first.

    Args:
        path: The file.
        label: The column with the class; None takes one that is called `label`, `class`, `target` or `category`.

    Raises:
        UserErrors: Lines that cannot be used, all of them.
        UserError: There is no such file or column.
    """
    source = os.fspath(path)
    header, cells = _cells(Path(path), source)
    if label is not None and label not in header:
        raise UserError(
            f"{source} has no column {label!r}", did_you_mean(label, header) or f"it has {', '.join(header)}"
        )
    place = header.index(_first(FILE_COLUMNS, header) or header[0])
    rows: dict[str, tuple[str, ...]] = {}
    lines: dict[str, int] = {}
    problems: list[Problem] = []
    for line, row in cells:
        name = row[place].replace("\\", "/").removeprefix("./") if len(row) == len(header) else ""
        if len(row) != len(header):
            problems.append(Problem(f"has {len(row)} cells where the header has {len(header)}", f"{source}:{line}"))
        elif not name or name in rows:
            what = f"{printable(name)} stands on line {lines[name]} already" if name else "names no file"
            problems.append(Problem(what, f"{source}:{line}"))
        else:
            rows[name], lines[name] = tuple(row), line
    if problems or not rows:
        raise to_errors(problems or [Problem("has no lines", source)], f"{source} cannot be used")
    return SampleTable(
        source, header, rows, lines, label or _first(LABEL_COLUMNS, header), _first(SPLIT_COLUMNS, header)
    )


def _cells(path: Path, source: str) -> tuple[tuple[str, ...], list[tuple[int, list[str]]]]:
    """The header, and every line that is not empty with its number."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max("\t;,", key=head.count) if head else ",", strict=True)
            cells = [(reader.line_num, row) for row in reader if row]
    except OSError as error:
        raise UserError(f"{source} cannot be read: {reason(error)}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{source} cannot be read as a table: {error}", "save it as CSV in UTF-8") from error
    header = tuple(title.strip() for title in cells[0][1]) if cells else ()
    if not header or len(set(header)) < len(header):
        raise UserError(f"{source} has no header with a title of its own for every column")
    return header, cells[1:]


def _first(wanted: Sequence[str], header: Sequence[str]) -> str | None:
    """The first column that is called by one of the `wanted` names, in upper or lower case."""
    folded = {title.lower(): title for title in reversed(header)}
    return next((folded[name] for name in wanted if name in folded), None)
