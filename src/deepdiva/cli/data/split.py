"""The command `data split`: train, val and test, or folds, as a list or as folders of links or copies."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepdiva.data.split_list import SplitList

DESCRIPTION = """\
Split a data set: <class>/… or a flat folder with a table; of a set with a folder test only the rest is split.
Nothing is moved, and nothing is written into the data set: the splits are written down as a list, which
`deepdiva run image-classification --data PATH --splits FILE` reads, or made as folders of links or copies."""
EPILOG = r"""examples:
  deepdiva data split pages                                 80 % train, 10 % val, 10 % test, stratified by class
  deepdiva data split pages --counts rest 200 200 --seed 7
  deepdiva data split pages --group-by '^(w\d+)_'           all pages of one writer in one split
  deepdiva data split pages --table pages.csv --group-by writer --folds 5"""


def add_parsers(subparsers: Any) -> None:
    """Adds `split`."""
    parser = subparsers.add_parser(
        "split",
        help="split a data set into train, val and test, or into folds",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("path", metavar="PATH", help="the data set")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--fractions", nargs="+", type=float, metavar="F", help="shares of train, val and test")
    how.add_argument("--counts", nargs="+", type=_count, metavar="N", help="samples of each; one may be 'rest'")
    how.add_argument("--folds", type=int, metavar="K", help="every sample is tested in one of K folds")
    parser.add_argument(
        "--val-fraction", type=float, default=0.1, metavar="F", help="with folds, share of val in the rest (0.1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="chooses among the possible splits (default: 0)")
    parser.add_argument(
        "--no-stratify", dest="stratify", action="store_false", help="leave the classes of each split to chance"
    )
    parser.add_argument(
        "--group-by", metavar="PATTERN", help="what stays together: a regular expression with a group, or a column"
    )
    parser.add_argument("--table", metavar="FILE", help="a CSV file with a line for each sample")
    parser.add_argument("--label", metavar="COLUMN", help="the column of the table with the class")
    parser.add_argument("--files", metavar="PATTERN", help="names of the samples, such as '*.avi' (default: images)")
    parser.add_argument("--pool", action="store_true", help="split anew also what is in a folder test")
    parser.add_argument(
        "--by", choices=("list", "link", "copy"), default="list", help="what to make (default: list; moves nothing)"
    )
    parser.add_argument("--to", metavar="PATH", help="where (default: NAME-splits.json, or the folder NAME-split)")
    parser.add_argument("--json", action="store_true", help="print the answer for machines")
    parser.set_defaults(func=split_data)


def split_data(arguments: argparse.Namespace) -> int:
    """Splits, writes, and says what was made."""
    from deepdiva.data.placing import place
    from deepdiva.data.split_list import write_splits
    from deepdiva.data.splitting import Recipe, split

    root = Path(arguments.path)
    target = _target(root, arguments)
    recipe = Recipe(
        fractions=None if arguments.fractions is None else tuple(arguments.fractions),
        counts=None if arguments.counts is None else tuple(None if n == "rest" else int(n) for n in arguments.counts),
        folds=arguments.folds,
        val_fraction=arguments.val_fraction,
        seed=arguments.seed,
        stratify=arguments.stratify,
        group_by=arguments.group_by,
        table=arguments.table,
        label=arguments.label,
        files=arguments.files,
        pool=arguments.pool,
    )
    made = split(root, recipe)
    if arguments.by == "list":
        write_splits(made, target)
    else:
        place(root, made, target, by=arguments.by)
    _report(made, target, arguments)
    return 0


def _count(text: str) -> str:
    if text != "rest" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is neither a number of samples nor 'rest'")
    return text


def _target(root: Path, arguments: argparse.Namespace) -> Path:
    """Where the splits go: never into the data set, whose footprint they would change."""
    from deepdiva.errors import UserError

    name = root.resolve().name
    default = f"{name}-splits.json" if arguments.by == "list" else f"{name}-split"
    target = Path(arguments.to or default)
    if target.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{target} would lie in the data set", "name another place with --to")
    if target.exists() or target.is_symlink():
        raise UserError(f"{target} is there already", "remove it, or name another with --to")
    return target


def _report(made: SplitList, target: Path, arguments: argparse.Namespace) -> None:
    from deepdiva.cli.console import Column, Table, note, print_json, print_table, say

    rows = [row for number, fold in enumerate(made.folds) for row in _rows(made, number, fold)]
    if arguments.json:
        keys = ("fold", "split", "samples", "classes", "least", "most")
        rows_by_key = [dict(zip(keys, row, strict=True)) for row in rows]
        print_json({"path": str(target), "root": made.root, "how": dict(made.how), "splits": rows_by_key})
        return
    columns = [
        Column("fold", "fold", right=True),
        Column("split", "split"),
        Column("samples", "samples", right=True),
        Column("classes", "classes", right=True),
        Column("least", "least in a class", right=True),
        Column("most", "most", right=True),
    ]
    start = 0 if made.is_folded else 1
    print_table(Table(columns[start:], [row[start:] for row in rows]))
    say(f"{arguments.by} {target}")
    most = max(row[3] for row in rows)
    short = [row for row in rows if row[3] < most]
    if short:
        where = ", ".join(row[1] if row[0] is None else f"{row[1]} of fold {row[0]}" for row in short)
        note(f"not every class is in {where}", style="yellow")
    if arguments.by == "list" and not arguments.files:
        fold = " --fold 0" if made.is_folded else ""
        note(f"deepdiva run image-classification --data {arguments.path} --splits {target}{fold}", style="dim")


def _rows(made: SplitList, number: int, fold: Any) -> list[tuple[Any, ...]]:
    """Fold, split, samples, classes, samples in the smallest and in the largest class."""
    from deepdiva.data.layout import has_split_folders, place_of

    rows: list[tuple[Any, ...]] = []
    names = [name for part in fold.values() for name in part]
    split_folders = has_split_folders({name.partition("/")[0] for name in names if "/" in name})
    for split, part in fold.items():
        labels = Counter(made.labels.get(name) or place_of(name, split_folders=split_folders)[1] for name in part)
        labels.pop(None, None)
        sizes = labels.values() or [len(part)]
        rows.append((number if made.is_folded else None, split, len(part), len(labels), min(sizes), max(sizes)))
    return rows
