"""Tables in every format, and text that neither breaks a terminal nor a pipe."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable

import pytest

from deepdiva.cli.console import (
    Column,
    Table,
    format_duration,
    format_number,
    note,
    print_json,
    print_table,
    printable,
    say,
)

TABLE = Table(
    [Column("name", "Name"), Column("value", "Value", format_number, right=True, style=lambda value: "red")],
    [["a|b", 0.98765432], ["50 % & {x}_1", None], ["two\nlines \x1b[31m", 3]],
)


def test_plain_columns_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(TABLE)
    assert capsys.readouterr().out.splitlines() == [
        "Name                  Value",
        "a|b                  0.9877",
        "50 % & {x}_1",
        "two\\nlines \\x1b[31m       3",
    ]


def test_csv_holds_the_values_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(TABLE, "csv")
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows == [["name", "value"], ["a|b", "0.98765432"], ["50 % & {x}_1", ""], ["two\nlines \x1b[31m", "3"]]


def test_markdown_escapes_its_bars(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(TABLE, "md")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["| Name | Value |", "|:-|-:|", "| a\\|b | 0.9877 |"]
    assert len(lines) == 5


def test_latex_escapes_its_signs(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(TABLE, "latex")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == r"\begin{tabular}{lr}"
    assert lines[5] == r"50 \% \& \{x\}\_1 &  \\"
    assert lines[-1] == r"\end{tabular}"


def test_json_is_read_by_every_reader(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(TABLE, "json")
    assert json.loads(capsys.readouterr().out)[0] == {"name": "a|b", "value": 0.98765432}
    print_json({"a": float("nan"), "b": [float("inf"), 1.5], 3: (None,)})
    assert json.loads(capsys.readouterr().out) == {"a": "nan", "b": ["inf", 1.5], "3": [None]}


def test_a_terminal_gets_colours_and_every_value_literally(
    capsys: pytest.CaptureFixture[str], on_terminal: Callable[[int], None]
) -> None:
    on_terminal(80)
    print_table(Table(TABLE.columns, [["[bold]x[/bold] :smile:", 0.5]]))
    out = capsys.readouterr().out
    assert "[bold]x[/bold] :smile:" in out
    assert "\x1b[31m0.5000" in out.replace(" ", "")


def test_a_narrow_terminal_shortens_what_may_be_shortened(
    capsys: pytest.CaptureFixture[str], on_terminal: Callable[[int], None]
) -> None:
    on_terminal(30)
    columns = [Column("a", "a"), Column("b", "b", fold=True)]
    print_table(Table(columns, [["x" * 20, "y" * 40]]))
    lines = capsys.readouterr().out.splitlines()
    assert "x" * 20 in lines[1]
    assert "…" in lines[1]
    assert len(lines) == 2


def test_colours_only_on_a_terminal_that_wants_them(
    capsys: pytest.CaptureFixture[str], on_terminal: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    say("x", style="bold red")
    note("y", style="dim")
    assert capsys.readouterr() == ("x\n", "y\n")
    on_terminal(80)
    say("x", style="bold red")
    assert capsys.readouterr().out == "\x1b[1;31mx\x1b[0m\n"
    monkeypatch.setenv("NO_COLOR", "1")
    say("x", style="bold red")
    assert capsys.readouterr().out == "x\n"


def test_a_terminal_of_another_encoding_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    say("✓ ü \udcff")
    stream.seek(0)
    assert stream.read() == "\\u2713 \\xfc \\udcff\n"


@pytest.mark.parametrize(
    ("text", "expected"), [("plain ü 日本", "plain ü 日本"), ("a\tb\x00", "a\\tb\\x00"), ("\udcff", "\\udcff")]
)
def test_printable(text: str, expected: str) -> None:
    assert printable(text) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, ""),
        (0.0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1m 00s"),
        (3599.4, "59m 59s"),
        (3599.6, "1h 00m"),
        (86399, "23h 59m"),
        (100_000, "1d 3h"),
    ],
)
def test_durations(seconds: float | None, expected: str) -> None:
    assert format_duration(seconds) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.99174, "0.9917"), (12.3456, "12.35"), (1.2e-7, "1.2e-07"), (0.0, "0.0000"), (7, "7"), (None, ""), ("x", "x")],
)
def test_numbers(value: object, expected: str) -> None:
    assert format_number(value) == expected
