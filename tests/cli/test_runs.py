"""`runs ls` and `runs show`: what is listed, in which order, and at what cost."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepdiva.cli import runs
from deepdiva.cli.runs import score
from deepdiva.errors import UserError, UserErrors
from deepdiva.runs.index import Row

BEST = {"epoch": 3, "step": 60, "metric": "val/accuracy", "value": 0.9}
Call = Callable[..., int]
Store = Callable[..., Path]


@pytest.fixture
def three(store: Store) -> None:
    results = {"val/accuracy": 0.9, "test/accuracy": 0.875, "test/loss": 1.5}
    store("points", "aaaaaa", day=1, seed=7, best=BEST, results=results)
    better = {"val/accuracy": 0.95, "test/accuracy": 0.9375}
    store("digits", "bbbbbb", day=2, seed=0, data="/some/where", best=BEST | {"value": 0.95}, results=better)
    store("digits", "cccccc", day=3, status="failed", error={"message": "boom", "traceback": None})


def ids(call: Call, capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    assert call(runs, "runs", "ls", "--json", *words) == 0
    return [row["id"][17:] for row in json.loads(capsys.readouterr().out)]


@pytest.mark.usefixtures("three")
def test_newest_first_as_a_plain_table(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(runs, "runs", "ls") == 0
    printed = capsys.readouterr()
    lines = [line.split() for line in printed.out.splitlines()]
    assert lines[0] == ["run", "experiment", "status", "data", "seed", "test/accuracy", "duration"]
    assert lines[1] == ["20261103T120000Z-cccccc", "digits", "failed", "1", "12.5", "s"]
    assert lines[2] == ["20261102T120000Z-bbbbbb", "digits", "completed", "/some/where", "0", "0.9375", "12.5", "s"]
    assert lines[3][:2] == ["20261101T120000Z-aaaaaa", "points"]
    assert printed.err == ""


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--status", "failed"], ["cccccc"]),
        (["--task", "digits"], ["cccccc", "bbbbbb"]),
        (["--experiment", "points"], ["aaaaaa"]),
        (["--data", "/some/where"], ["bbbbbb"]),
        (["--where", "test/accuracy>0.9"], ["bbbbbb"]),
        (["--where", "seed>0", "--where", "status=completed"], ["aaaaaa"]),
        (["--sort", "test/accuracy"], ["aaaaaa", "bbbbbb", "cccccc"]),
        (["--sort=-test/accuracy"], ["bbbbbb", "aaaaaa", "cccccc"]),
        (["--sort", "created", "--limit", "2"], ["aaaaaa", "bbbbbb"]),
        (["--limit", "0"], ["cccccc", "bbbbbb", "aaaaaa"]),
        (["--where", "test/accuracy>2"], []),
    ],
)
def test_filter_sort_and_limit(
    call: Call, capsys: pytest.CaptureFixture[str], words: list[str], expected: list[str]
) -> None:
    assert ids(call, capsys, *words) == expected


@pytest.mark.usefixtures("three")
def test_json_tells_everything(call: Call, answer: Callable[[], Any]) -> None:
    assert call(runs, "runs", "ls", "--json", "--limit", "2") == 0
    row = answer()[1]
    assert (row["metric"], row["score"], row["seed"], row["duration"]) == ("test/accuracy", 0.9375, 0, 12.5)
    assert row["results"] == {"val/accuracy": 0.95, "test/accuracy": 0.9375}
    assert row["best"] == BEST | {"value": 0.95}
    assert row["path"] == "runs/digits/20261102T120000Z-bbbbbb"


@pytest.mark.usefixtures("three")
def test_csv_has_a_column_for_every_result(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(runs, "runs", "ls", "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["test/loss"] for row in rows] == ["", "", "1.5"]
    assert rows[1]["score"] == "0.9375"
    assert rows[1]["path"] == "runs/digits/20261102T120000Z-bbbbbb"


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(("form", "expected"), [("md", "| run | experiment |"), ("latex", r"\begin{tabular}")])
def test_formats_for_papers(call: Call, capsys: pytest.CaptureFixture[str], form: str, expected: str) -> None:
    assert call(runs, "runs", "ls", "--format", form) == 0
    assert expected in capsys.readouterr().out


@pytest.mark.usefixtures("three")
def test_columns_of_your_choice(call: Call, capsys: pytest.CaptureFixture[str], answer: Callable[[], Any]) -> None:
    assert call(runs, "runs", "ls", "--columns", "seed,test/loss", "--format", "csv", "--sort", "created") == 0
    assert capsys.readouterr().out == "seed,test/loss\n7,1.5\n0,\n1,\n"
    assert call(runs, "runs", "ls", "--columns", "seed", "--json") == 0
    assert answer() == [{"seed": 1}, {"seed": 0}, {"seed": 7}]
    with pytest.raises(UserErrors, match=r"(?s)'sed'.*did you mean 'seed'.*'test/los'.*did you mean 'test/loss'"):
        call(runs, "runs", "ls", "--columns", "sed,test/los")


@pytest.mark.usefixtures("three")
def test_a_terminal_shows_short_ids_that_every_command_takes(
    call: Call, capsys: pytest.CaptureFixture[str], on_terminal: Callable[[int], None]
) -> None:
    on_terminal(140)
    assert call(runs, "runs", "ls", "--limit", "2") == 0
    printed = capsys.readouterr()
    assert "bbbbbb" in printed.out
    assert "20261102T120000Z" not in printed.out
    assert "2 of 3 runs" in printed.err
    assert call(runs, "runs", "show", "bbbbbb") == 0


@pytest.mark.usefixtures("three")
def test_a_narrow_terminal_drops_columns(
    call: Call, capsys: pytest.CaptureFixture[str], on_terminal: Callable[[int], None]
) -> None:
    on_terminal(80)
    assert call(runs, "runs", "ls") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "seed" not in lines[0]
    assert "completed" in lines[2]


def test_ids_that_end_alike_are_shown_in_full(
    store: Store, call: Call, capsys: pytest.CaptureFixture[str], on_terminal: Callable[[int], None]
) -> None:
    store("points", "aaaaaa", day=1)
    store("points", "aaaaaa", day=2)
    on_terminal(140)
    assert call(runs, "runs", "ls") == 0
    assert "20261101T120000Z-aaaaaa" in capsys.readouterr().out


def test_different_metrics_are_named_in_a_column(store: Store, call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    store("points", "aaaaaa", best=BEST)
    store("segmentation", "bbbbbb", best=BEST | {"metric": "val/iou"}, results={"test/iou": 0.5})
    assert call(runs, "runs", "ls") == 0
    out = capsys.readouterr().out
    assert "metric" in out
    assert "val/accuracy" in out
    assert "test/iou" in out


def test_columns_without_a_value_are_not_shown(store: Store, call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    store("points", "aaaaaa", seed=None, task=None)
    assert call(runs, "runs", "ls") == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["run", "experiment", "status", "duration"]


def test_an_unreadable_run_is_listed_and_harms_nobody(
    store: Store, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    (store("points", "aaaaaa") / "run.json").write_text("{")
    store("points", "bbbbbb")
    assert ids(call, capsys, "--status", "unreadable") == ["aaaaaa"]
    assert call(runs, "runs", "ls") == 0


@pytest.mark.usefixtures("store")
def test_no_runs_yet(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(runs, "runs", "ls") == 0
    assert capsys.readouterr() == ("", "no runs in runs\n")
    assert call(runs, "runs", "ls", "--json") == 0
    assert capsys.readouterr().out == "[]\n"
    Path("empty").mkdir()
    assert call(runs, "runs", "ls", "empty", "--status", "failed") == 0
    assert capsys.readouterr().err == "no runs in empty that fit\n"
    with pytest.raises(UserError, match="there is no folder elsewhere"):
        call(runs, "runs", "ls", "--runs-dir", "elsewhere")


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    "words",
    [["--format", "xml"], ["--status", "done"], ["--limit", "-1"], ["--limit", "x"], ["--json", "--format", "csv"]],
)
def test_wrong_words_are_refused(call: Call, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        call(runs, "runs", "ls", *words)
    assert caught.value.code == 2


@pytest.mark.usefixtures("three")
def test_a_wrong_condition_or_key_is_explained(call: Call) -> None:
    with pytest.raises(UserError, match="is no condition"):
        call(runs, "runs", "ls", "--where", "accuracy")
    with pytest.raises(UserError, match="did you mean 'test/accuracy'"):
        call(runs, "runs", "ls", "--sort", "test/acuracy")


@pytest.mark.usefixtures("three")
def test_show_as_json(call: Call, answer: Callable[[], Any]) -> None:
    assert call(runs, "runs", "show", "last", "--json") == 0
    record = answer()
    assert record["id"] == "20261103T120000Z-cccccc"
    assert record["status"] == "failed"
    assert record["path"] == "runs/digits/20261103T120000Z-cccccc"


@pytest.mark.usefixtures("three")
def test_show_of_a_run_that_is_not_there(call: Call) -> None:
    with pytest.raises(UserError, match="there is no run 'ffffff'"):
        call(runs, "runs", "show", "ffffff")


@pytest.mark.parametrize(
    ("best", "results", "expected"),
    [
        ({}, {"test/accuracy": 0.5}, (None, None)),
        (BEST, {}, ("val/accuracy", 0.9)),
        (BEST, {"test/accuracy": 0.5}, ("test/accuracy", 0.5)),
    ],
)
def test_the_score_is_of_the_test_split_where_there_is_one(
    best: dict[str, Any], results: dict[str, float], expected: tuple[str | None, float | None]
) -> None:
    assert score(Row("f", "i", "e", "completed", results=results, best=best)) == expected


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("words", [["runs", "ls"], ["runs", "show", "last"], ["runs", "show", "last", "--json"]])
def test_quick_commands_load_nothing_heavy(words: list[str]) -> None:
    program = (
        "import argparse, sys; from deepdiva.cli import runs; parser = argparse.ArgumentParser()\n"
        "runs.add_parser(parser.add_subparsers()); arguments = parser.parse_args(sys.argv[1:])\n"
        "code = arguments.func(arguments); heavy = {'torch', 'pydantic', 'numpy', 'yaml', 'rich', 'tensorboard'}\n"
        "print(sorted(heavy & sys.modules.keys()), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert "cccccc" in done.stdout
