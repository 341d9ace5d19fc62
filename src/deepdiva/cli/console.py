"""What the commands print: tables and messages, coloured on a terminal and plain everywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TextIO

Format = Literal["table", "csv", "md", "latex", "json"]
FORMATS: tuple[Format, ...] = ("table", "csv", "md", "latex", "json")

STATUS_STYLES: Mapping[str, str] = {
    "completed": "green",
    "running": "cyan",
    "interrupted": "yellow",
    "failed": "red",
    "unreadable": "red",
}
_ANSI = {"green": "32", "red": "31", "yellow": "33", "cyan": "36", "dim": "2", "bold": "1"}
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def as_text(value: Any) -> str:
    """A value for people: nothing for None."""
    return "" if value is None else str(value)


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        key: Its name for machines, in CSV and JSON.
        title: Its name for people.
        show: How a value is written for people; machines get the value itself.
        right: Whether the values stand at the right, as numbers do.
        style: The colour of a value on a terminal, a style of rich.
        fold: Whether the values may be shortened on a narrow terminal.
    """

    key: str
    title: str
    show: Callable[[Any], str] = as_text
    right: bool = False
    style: Callable[[Any], str] = lambda value: ""
    fold: bool = False


@dataclass(frozen=True)
class Table:
    """Values by row and column, ready for every format."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]

    def texts(self) -> list[list[str]]:
        """All values as people read them, without characters that would move the cursor."""
        return [
            [printable(column.show(value)) for column, value in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]

    def mappings(self) -> list[dict[str, Any]]:
        """One mapping a row, for JSON."""
        keys = [column.key for column in self.columns]
        return [dict(zip(keys, row, strict=True)) for row in self.rows]


def print_table(table: Table, form: Format = "table") -> None:
    """Print a table on standard output in one of `FORMATS`."""
    if form == "json":
        print_json(table.mappings())
    elif form == "csv":
        say(printable_lines(_csv(table)) if is_terminal(sys.stdout) else _csv(table))
    elif form == "md":
        say(_markdown(table))
    elif form == "latex":
        say(_latex(table))
    elif is_terminal(sys.stdout):
        _print_rich(table)
    else:
        say(_plain(table))


def print_json(value: Any) -> None:
    """Print a value on standard output as JSON that every reader accepts: NaN and infinities become strings."""
    import json

    print(json.dumps(_strict(value), indent=2))


def say(text: str = "", *, style: str = "") -> None:
    """Print a part of the answer on standard output."""
    _write(sys.stdout, styled(text, style, sys.stdout))


def note(text: str, *, style: str = "") -> None:
    """Print progress on standard error."""
    _write(sys.stderr, styled(text, style, sys.stderr))


def styled(text: str, style: str, stream: TextIO | None = None) -> str:
    """The text in a style (`red`, `dim`, `bold green`) where `stream` (standard output) shows colours."""
    if not style or not text or not has_colour(stream or sys.stdout):
        return text
    codes = ";".join(_ANSI[word] for word in style.split())
    return f"\x1b[{codes}m{text}\x1b[0m"


def is_terminal(stream: TextIO) -> bool:
    """Whether a person watches `stream` on a terminal that can do more than print lines."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def has_colour(stream: TextIO) -> bool:
    """Whether colours are wanted: on a terminal, unless `NO_COLOR` is set."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def printable(text: str) -> str:
    """Text on one line, with escapes in place of control characters and of bytes that are no text."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def printable_lines(text: str) -> str:
    """As `printable`, for a text of several lines."""
    return "\n".join(printable(line) for line in text.split("\n"))


def format_number(value: Any) -> str:
    """A number with as many digits as help (`0.9917`, `12.35`, `1.2e-07`); anything else as it is."""
    if not isinstance(value, float):
        return as_text(value)
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 10 else f"{value:.4g}"


def format_duration(seconds: float | None) -> str:
    """Seconds as people say them: `8.3 s`, `4m 05s`, `2h 03m`, `1d 4h`."""
    if seconds is None:
        return ""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m" if hours < 24 else f"{hours // 24}d {hours % 24}h"


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    # A terminal in another language than UTF-8 gets escapes instead of an error.
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def _plain(table: Table) -> str:
    """Columns side by side, two spaces apart: for pipes, so that nothing is ever shortened."""
    lines = [[column.title for column in table.columns], *table.texts()]
    widths = [max(len(line[place]) for line in lines) for place in range(len(table.columns))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if column.right else text.ljust(width)
            for text, width, column in zip(line, widths, table.columns, strict=True)
        ).rstrip()
        for line in lines
    )


def _csv(table: Table) -> str:
    import csv
    import io

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([column.key for column in table.columns])
    writer.writerows(table.rows)
    return buffer.getvalue().removesuffix("\n")


def _markdown(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("\\", "\\\\").replace("|", "\\|") for cell in cells) + " |"

    rule = "|" + "|".join("-:" if column.right else ":-" for column in table.columns) + "|"
    return "\n".join([line([column.title for column in table.columns]), rule, *map(line, table.texts())])


def _latex(table: Table) -> str:
    """A `tabular` with the rules of the package booktabs."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join("".join(_LATEX.get(sign, sign) for sign in cell) for cell in cells) + r" \\"

    form = "".join("r" if column.right else "l" for column in table.columns)
    head = line([column.title for column in table.columns])
    body = [line(row) for row in table.texts()]
    return "\n".join(
        [rf"\begin{{tabular}}{{{form}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
    )


def _print_rich(table: Table) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    grid = RichTable(box=None, header_style="bold dim", pad_edge=False, padding=(0, 2, 0, 0))
    for column in table.columns:
        grid.add_column(column.title, justify="right" if column.right else "left", no_wrap=not column.fold)
    for row, texts in zip(table.rows, table.texts(), strict=True):
        cells = zip(table.columns, row, texts, strict=True)
        grid.add_row(
            *(Text(text, column.style(value), no_wrap=True, overflow="ellipsis") for column, value, text in cells)
        )
    Console(file=sys.stdout, markup=False, highlight=False, emoji=False).print(grid)


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value
