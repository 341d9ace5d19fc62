"""The command `data download`: a well-known data set by its name, checked and ready for use."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepdiva.data.download import Downloaded

EPILOG = """examples:
  deepdiva data download                                  what there is
  deepdiva data download mnist
  deepdiva data download cifar10 --to ../data/cifar10     into a folder of your choice, or what is there already
  deepdiva data download stl10 --mirror /shared/data      from a folder or an address of your own, no other place
  deepdiva data download mnist --as folders               also as folders of PNG images"""

_REDRAW_SECONDS = 0.1
_LINE_SECONDS = 10.0


def add_parsers(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "download",
        help="get a well-known data set by its name",
        description="Gets a data set by its name, checks it, and makes it known: `--data NAME` then reads it. A "
        "broken download goes on where it ended. Files that are there already are checked and used, without network.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the data set; without it, those there are are listed")
    parser.add_argument("--to", type=Path, metavar="DIR", help="its folder (default: in the user's data directory)")
    parser.add_argument(
        "--mirror",
        action="append",
        default=[],
        metavar="URL|DIR",
        help="take the files from this address or folder and not from their authors; several are tried in order",
    )
    parser.add_argument(
        "--as",
        dest="form",
        choices=("arrays", "folders"),
        default="arrays",
        help="arrays: the original files, read directly; folders: PNG images besides, in <DIR>-folders",
    )
    parser.add_argument("--json", action="store_true", help="print the answer for machines")
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Downloads, or lists what can be downloaded."""
    if arguments.name is None:
        return _list(arguments)
    from deepdiva.data.download import download

    progress = Progress()
    try:
        done = download(arguments.name, to=arguments.to, mirrors=arguments.mirror, report=progress)
        folders = _write_folders(done, progress) if arguments.form == "folders" else None
    finally:
        progress.finish()
    _answer(done, folders, as_json=arguments.json)
    return 0


class Progress:
    """How far a file is: on a terminal one line that is redrawn, elsewhere a line now and then."""

    def __init__(self) -> None:
        self._name = ""
        self._began = self._shown = 0.0
        self._first = 0
        self._drawn = False

    def __call__(self, name: str, done: int, total: int) -> None:
        """Shows it, unless that was done a moment ago."""
        from deepdiva.cli.console import is_terminal, note

        now = time.monotonic()
        if name != self._name:
            self._name, self._began, self._first, self._shown = name, now, done, now - _LINE_SECONDS
        terminal = is_terminal(sys.stderr)
        if done < total and now - self._shown < (_REDRAW_SECONDS if terminal else _LINE_SECONDS):
            return
        self._shown = now
        line = self._line(done, total, now - self._began)
        if not terminal:
            note(line)
            return
        sys.stderr.write(f"\r{line}\x1b[K" + ("\n" if done >= total else ""))
        sys.stderr.flush()
        self._drawn = done < total

    def finish(self) -> None:
        """Ends the line that is being redrawn."""
        if self._drawn:
            sys.stderr.write("\n")
            self._drawn = False

    def _line(self, done: int, total: int, seconds: float) -> str:
        from deepdiva.cli.console import format_duration
        from deepdiva.data.disk import in_units

        text = f"{self._name}  {100 * done / max(1, total):3.0f} %"
        if self._name.endswith(_FOLDERS):
            return f"{text}  {done:,} of {total:,} images"
        text = f"{text}  {in_units(done)} of {in_units(total)}"
        if seconds < 1 or done <= self._first:
            return text
        rate = (done - self._first) / seconds
        rest = "" if done >= total else f"  {format_duration((total - done) / rate)} left"
        return f"{text}  {in_units(rate)}/s{rest}"


_FOLDERS = "-folders"


def _write_folders(done: Downloaded, progress: Progress) -> Path:
    """The images as folders, beside the original files."""
    from deepdiva.data.formats import load
    from deepdiva.data.image_export import write_folders

    source = done.receipt.folder
    variant = "" if done.variant is None else f"-{done.variant}"
    target = source.with_name(f"{source.name}{variant}{_FOLDERS}")
    original, _ = load(done.dataset, done.variant, source)
    write_folders(original, target, report=progress)
    return target


def _answer(done: Downloaded, folders: Path | None, *, as_json: bool) -> None:
    from deepdiva.cli.console import print_json, say

    receipt, facts = done.receipt, done.receipt.statistics
    name = done.dataset.name if done.variant is None else f"{done.dataset.name}:{done.variant}"
    if as_json:
        print_json(
            {
                "name": name,
                "folder": str(receipt.folder),
                "folders": None if folders is None else str(folders),
                "footprint": receipt.footprint.root,
                "size": receipt.footprint.size,
                "fetched": list(done.fetched),
                "verified": receipt.verified,
                "statistics": dict(facts),
                "protocol": done.dataset.protocol or None,
            }
        )
        return
    colours = "gray" if facts["channels"] == 1 else "RGB"
    say(
        f"{done.dataset.title}: {facts['train']:,} training and {facts['test']:,} test images, "
        f"{facts['height']} x {facts['width']} {colours}, {len(facts['classes'])} classes"
    )
    lines = {
        "folder": str(receipt.folder),
        "footprint": receipt.footprint.root,
        "checksums": "as published" if receipt.verified else "none are published for files in this form",
        "mean": _numbers(facts["mean"]),
        "std": _numbers(facts["std"]),
        "per class": _spread(facts["class_counts"]["train"]),
        "images in": "" if folders is None else str(folders),
        "protocol": done.dataset.protocol,
        "use it": f"deepdiva run image-classification --data {name if folders is None else folders}",
    }
    for title, text in lines.items():
        if text:
            say(f"{title:<10} {text}")


def _numbers(values: list[float]) -> str:
    return "  ".join(f"{value:.4f}" for value in values)


def _spread(counts: list[int]) -> str:
    few, many = min(counts), max(counts)
    return f"{few:,} training images" if few == many else f"{few:,} to {many:,} training images"


def _list(arguments: argparse.Namespace) -> int:
    """Prints a table of what can be downloaded."""
    from deepdiva.cli.console import Column, Table, print_table
    from deepdiva.data import store
    from deepdiva.data.catalog import SETS
    from deepdiva.data.disk import in_units

    rows = []
    for dataset in SETS.values():
        receipt = store.load(dataset.name)
        size = sum(file.size for file in dataset.published)
        rows.append((dataset.name, size, dataset.about, None if receipt is None else str(receipt.folder)))
    columns = (
        Column("name", "NAME"),
        Column("size", "DOWNLOAD", in_units, right=True),
        Column("about", "WHAT", fold=True),
        Column("folder", "HERE", fold=True),
    )
    print_table(Table(columns, rows), "json" if arguments.json else "table")
    return 0
