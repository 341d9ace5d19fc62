"""The command `data cache`: what is kept of decoded images, and its removal."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepdiva.data.cache import Entry

DESCRIPTION = """\
Images are decoded once and kept for later runs in $XDG_CACHE_HOME/deepdiva/arrays. All of it is safe to remove.
Above the limit (cache_limit in settings.toml, 20 GB) what was used longest ago goes first; what a run uses stays.
What `data analyze` found is kept beside it (analyses), 256 MB at most."""
EPILOG = """examples:
  deepdiva data cache ls
  deepdiva data cache clear --older-than 30d"""
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def add_parsers(subparsers: Any) -> None:
    """Adds `cache` with `ls` and `clear`."""
    parser = subparsers.add_parser(
        "cache",
        help="list or remove decoded images and analyses that are kept",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    listing = commands.add_parser("ls", help="list what is kept, the last used first", allow_abbrev=False)
    listing.add_argument("--json", action="store_true", help="print the answer for machines")
    listing.set_defaults(func=list_entries)
    clearing = commands.add_parser("clear", help="remove what no run is using", allow_abbrev=False)
    clearing.add_argument(
        "--older-than", type=_age, metavar="AGE", help="only what was not used for so long: 12h, 30d, 8w"
    )
    clearing.set_defaults(func=clear_entries)


def list_entries(args: argparse.Namespace) -> int:
    """`data cache ls`."""
    from deepdiva.cli.console import Column, Table, print_table, say
    from deepdiva.data import cache

    found = cache.entries()
    rows = [*map(_row, found), *_row_of_analyses()]
    if not rows and not args.json:
        say("nothing is kept")
        return 0
    columns = [
        Column("key", "key", show=lambda key: key[:8]),
        Column("source", "data set", fold=True),
        Column("shape", "images", show=lambda shape: " x ".join(map(str, shape or ()))),
        Column("size", "size", show=_size, right=True),
        Column("used", "last used"),
        Column("in_use", "in use", show=lambda in_use: "yes" if in_use else ""),
    ]
    print_table(Table(columns, rows), "json" if args.json else "table")
    if not args.json:
        say(f"{_size(sum(entry.size for entry in found))} of {_size(cache.limit())}", style="dim")
    return 0


def clear_entries(args: argparse.Namespace) -> int:
    """`data cache clear`."""
    from deepdiva.cli.console import note, say
    from deepdiva.data import analysis_memory, cache

    removed, in_use = cache.clear(older_than=args.older_than)
    for entry in in_use:
        note(f"kept, since a run uses it: {_source(entry)}")
    sizes = [*(entry.size for entry in removed), *analysis_memory.clear(older_than=args.older_than)]
    say(f"removed {len(sizes)}, {_size(sum(sizes))}")
    return 0


def _row(entry: Entry) -> list[Any]:
    shape = list(entry.about.shape) if entry.about is not None else None
    return [entry.key, _source(entry), shape, entry.size, _date(entry.used), entry.in_use]


def _row_of_analyses() -> list[list[Any]]:
    """One row for all results of `data analyze`; none where there are no results."""
    from deepdiva.data import analysis_memory

    found = [status for _, status in analysis_memory.kept()]
    if not found:
        return []
    size, used = sum(status.st_size for status in found), max(status.st_mtime for status in found)
    return [["analyses", f"{len(found)} of data analyze", None, size, _date(used), False]]


def _date(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _source(entry: Entry) -> str:
    return entry.about.source if entry.about is not None else "(damaged)"


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 10**8 else f"{size / 1e6:.1f} MB"


def _age(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write a number and s, m, h, d or w, such as 30d")
    return float(match[1]) * SECONDS[match[2]]
