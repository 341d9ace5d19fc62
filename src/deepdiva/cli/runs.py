"""The commands `runs ls` and `runs show`: a table of runs, and all about one of them."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepdiva.cli import verify
from deepdiva.cli.console import FORMATS, STATUS_STYLES

if TYPE_CHECKING:
    from deepdiva.cli.console import Column, Table
    from deepdiva.runs.index import Row

SHOWN_ON_TERMINAL = 50
_FACTS = ("id", "experiment", "status", "kind", "parent", "task", "data", "seed", "created", "finished", "duration")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    parser = subparsers.add_parser("runs", help="list runs, show one, or check its files", allow_abbrev=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_list(commands)
    show = commands.add_parser("show", help="show all about one run", allow_abbrev=False)
    show.add_argument("run", metavar="RUN", help="a path, an id, the beginning of one, or 'last'")
    show.add_argument("--runs-dir", default="runs", metavar="DIR", help="where the runs are kept (default: runs)")
    show.add_argument("--json", action="store_true", help="print the answer for machines")
    show.set_defaults(func=show_run)
    verify.add_parser(commands)


def _add_list(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "ls",
        help="list runs",
        description="List runs, the newest first.",
        epilog='example: deepdiva runs ls --task points --where "test/accuracy>0.9" --sort=-test/accuracy --format md',
        allow_abbrev=False,
    )
    parser.add_argument("folder", nargs="?", metavar="DIR", help="where the runs are kept (default: runs)")
    parser.add_argument("--runs-dir", default="runs", metavar="DIR", help="the same as DIR")
    parser.add_argument("--status", choices=sorted(STATUS_STYLES), help="only runs of this status")
    for name in ("task", "data", "experiment"):
        parser.add_argument(f"--{name}", help=f"only runs of this {name}")
    parser.add_argument("--where", action="append", default=[], metavar="CONDITION", help='such as "test/accuracy>0.9"')
    parser.add_argument(
        "--sort", default="-created", metavar="KEY", help="order by a fact or a result; --sort=-KEY: largest first"
    )
    parser.add_argument(
        "--limit", type=_count, metavar="N", help=f"at most N (on a terminal {SHOWN_ON_TERMINAL}); 0: all"
    )
    parser.add_argument("--columns", metavar="KEYS", help="facts and results to show, such as id,seed,test/accuracy")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--format", choices=FORMATS, default="table", help="how to print (default: table)")
    form.add_argument("--json", action="store_const", dest="format", const="json", help="the same as --format json")
    parser.set_defaults(func=list_runs)


def list_runs(arguments: argparse.Namespace) -> int:
    """Print the table of runs."""
    import sys

    from deepdiva.cli.console import is_terminal, note, print_json, print_table

    folder = Path(arguments.folder or arguments.runs_dir)
    watched = arguments.format == "table" and is_terminal(sys.stdout)
    found = _select(arguments, folder)
    limit = arguments.limit if arguments.limit is not None else (SHOWN_ON_TERMINAL if watched else 0)
    shown = found[: limit or None]
    if arguments.format == "json" and not arguments.columns:
        print_json([_as_mapping(row) for row in shown])
    elif shown or arguments.format != "table":
        print_table(_table(shown, arguments, short=watched), arguments.format)
    if not found:
        note(f"no runs in {folder}" + (" that fit" if _conditions(arguments) else ""))
    elif watched and len(shown) < len(found):
        note(f"{len(shown)} of {len(found)} runs; --limit 0 shows all", style="dim")
    return 0


def show_run(arguments: argparse.Namespace) -> int:
    """Print all about one run."""
    from deepdiva.cli.console import print_json
    from deepdiva.cli.summary import print_summary
    from deepdiva.runs.folder import find_run

    run = find_run(arguments.run, arguments.runs_dir)
    if arguments.json:
        print_json({**run.record, "status": run.status, "duration": run.duration, "path": str(run.path)})
    else:
        print_summary(run)
    return 0


def score(row: Row) -> tuple[str | None, float | None]:
    """Name and value of the number that tells most: the score on the test split, or the best on the validation."""
    metric = (row.best or {}).get("metric")
    if metric is None:
        return None, None
    tested = f"test/{str(metric).rpartition('/')[2]}"
    if tested in row.results:
        return tested, row.results[tested]
    return str(metric), row.best.get("value")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no number of runs")
    return int(text)


def _conditions(arguments: argparse.Namespace) -> list[str]:
    named = [(name, getattr(arguments, name)) for name in ("status", "task", "data", "experiment")]
    return [*(f"{name}={value}" for name, value in named if value is not None), *arguments.where]


def _select(arguments: argparse.Namespace, folder: Path) -> list[Row]:
    from deepdiva.errors import UserError
    from deepdiva.runs.index import Condition, rows

    where = [Condition.parse(text) for text in _conditions(arguments)]
    if not folder.is_dir():
        if arguments.folder or folder != Path("runs"):
            raise UserError(f"there is no folder {folder}", "name the folder that holds the runs")
        return []
    return rows(folder, where=where, sort=arguments.sort)


def _table(rows: Sequence[Row], arguments: argparse.Namespace, *, short: bool) -> Table:
    from deepdiva.cli.console import Table

    if arguments.columns:
        keys = [key.strip() for key in arguments.columns.split(",") if key.strip()]
        _check_columns(rows, keys)
        return Table([_column(key) for key in keys], [[_value(row, key) for key in keys] for row in rows])
    if arguments.format == "csv":
        results = sorted({name for row in rows for name in row.results})
        keys = [*_FACTS, "metric", "score", *results, "path"]
        return Table([_column(key) for key in keys], [[_value(row, key) for key in keys] for row in rows])
    keys = ["id", "created", "experiment", "status", "task", "data", "seed", "metric", "score", "duration"]
    if not short:
        keys.remove("created")  # the id begins with it
    metrics = {score(row)[0] for row in rows} - {None}
    needless = {"metric"} if len(metrics) <= 1 else set()
    needless |= {key for key in ("task", "data", "seed", "score") if all(_value(row, key) is None for row in rows)}
    needless |= {"task"} if all(row.experiment == row.task for row in rows) else set()
    needless |= _too_wide() if short else set()
    keys = [key for key in keys if key not in needless]
    columns = [_column(key, rows=rows, short=short) for key in keys]
    if len(metrics) == 1:
        columns = [_renamed(column, str(*metrics)) if column.key == "score" else column for column in columns]
    return Table(columns, [[_value(row, key) for key in keys] for row in rows])


def _too_wide() -> set[str]:
    """What a narrow terminal has no room for."""
    import shutil

    width = shutil.get_terminal_size().columns
    return {key for key, least in (("seed", 100), ("data", 90)) if width < least}


def _check_columns(rows: Sequence[Row], keys: Sequence[str]) -> None:
    from deepdiva.errors import Problem, UserErrors, did_you_mean

    known = {*_FACTS, "metric", "score", "best", "path", *(name for row in rows for name in row.results)}
    problems = [
        Problem(f"no run has '{key}'", "--columns", did_you_mean(key, known)) for key in keys if key not in known
    ]
    if rows and problems:
        raise UserErrors(problems)


def _renamed(column: Column, title: str) -> Column:
    from dataclasses import replace

    return replace(column, title=title)


def _column(key: str, *, rows: Sequence[Row] = (), short: bool = False) -> Column:
    from deepdiva.cli.console import Column, as_text, format_duration, format_number

    if key == "id":
        return Column(key, "run", _short_ids(rows).__getitem__ if short else str, style=lambda _: "bold")
    if key == "status":
        return Column(key, key, style=lambda status: STATUS_STYLES.get(status, ""))
    if key == "created":
        return Column(
            key, "started" if short else key, _ago if short else as_text, style=lambda _: "dim" if short else ""
        )
    if key == "duration":
        return Column(key, key, format_duration, right=True)
    if key in ("experiment", "task", "data", "parent", "path"):
        return Column(key, key, as_text, fold=True)
    return Column(key, key, format_number, right=key not in (*_FACTS, "metric") or key == "seed")


def _value(row: Row, key: str) -> Any:
    if key in ("metric", "score"):
        return score(row)[key == "score"]
    return row.folder if key == "path" else row.value(key)


def _as_mapping(row: Row) -> dict[str, Any]:
    metric, value = score(row)
    facts = {key: row.value(key) for key in _FACTS}
    more = {"results": row.results, "best": row.best, "path": row.folder}
    return {**facts, "metric": metric, "score": value, **more}


def _short_ids(rows: Sequence[Row]) -> Mapping[str, str]:
    """For each id its last six digits, which every command takes, where no other run shown has the same."""
    endings = Counter(row.id[17:] for row in rows)
    return {row.id: row.id[17:] if endings[row.id[17:]] == 1 and row.id[17:] else row.id for row in rows}


def _ago(created: str | None) -> str:
    """How long ago, in the largest unit that says enough; the day when it is longer than a week."""
    import time

    from deepdiva.runs.record import seconds_of

    then = seconds_of(created)
    if then is None:
        return ""
    seconds = max(0, int(time.time() - then))
    for unit, size, limit in (("s", 1, 60), ("m", 60, 60), ("h", 3600, 24), ("d", 86400, 8)):
        if seconds < size * limit:
            return f"{seconds // size}{unit} ago"
    return time.strftime("%Y-%m-%d", time.localtime(then))
