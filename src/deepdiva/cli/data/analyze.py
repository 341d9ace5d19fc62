"""The command `data analyze`: what is in a data set of images, as a table, as JSON, or as a page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepdiva.data.analysis import Analysis
    from deepdiva.data.analyze import Scope

DESCRIPTION = """\
Look at every image of a data set: exact mean and deviation, classes, sizes, colours, unreadable files, images that
occur more than once, and what lies on both sides of a split. The answer is remembered until a file changes."""
MOST_SHOWN = 10


def add_parsers(subparsers: Any) -> None:
    """Adds `analyze`."""
    parser = subparsers.add_parser(
        "analyze",
        help="statistics of a data set, and what may be wrong with it",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("path", metavar="PATH", help="the data set")
    parser.add_argument("--splits", metavar="FILE", help="a split list, instead of folders train, val and test")
    parser.add_argument("--fold", type=int, metavar="K", help="which fold of the split list, counted from 0")
    parser.add_argument(
        "--group-by", metavar="PATTERN", help="what must not lie in several splits, such as '^(w\\d+)_'"
    )
    parser.add_argument("--table", metavar="FILE", help="a CSV file with a line for each sample")
    parser.add_argument("--label", metavar="COLUMN", help="the column of the table with the class")
    parser.add_argument("--files", metavar="PATTERN", help="names of the samples (default: images)")
    parser.add_argument("--html", metavar="FILE", help="write a page with charts and example images")
    parser.add_argument("--json", action="store_true", help="print the answer for machines, with every file by name")
    parser.add_argument("--fresh", action="store_true", help="look again, even where the answer is remembered")
    parser.add_argument("--workers", type=int, metavar="N", help="how many processes read (default: one a core)")
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 when files are unreadable, or content or groups leak"
    )
    parser.set_defaults(func=analyze_data)


def analyze_data(arguments: argparse.Namespace) -> int:
    """Analyses, writes the page if one is wanted, and prints the answer."""
    from deepdiva.cli.console import note, print_json
    from deepdiva.data.analyze import Scope, analyze
    from deepdiva.errors import UserError

    root = Path(arguments.path)
    page = None if arguments.html is None else Path(arguments.html)
    if page is not None and page.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{page} would lie in the data set", "name another place with --html")
    names = ("splits", "fold", "table", "label", "files", "group_by")
    scope = Scope(**{name: getattr(arguments, name) for name in names})
    with _Bar() as bar:
        found = analyze(root, scope, fresh=arguments.fresh, workers=arguments.workers, progress=bar.show)
    if page is not None:
        _write_page(found, root, scope, page)
    if arguments.json:
        print_json(found.to_mapping())
    else:
        _report(found)
    if page is not None:
        note(f"page {page}", style="dim")
    return int(arguments.strict and (found.leaks or bool(found.unreadable)))


class _Bar:
    """Progress on a terminal, begun with the first images: before that, processes are forked."""

    def __init__(self) -> None:
        self._progress: Any = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    @property
    def show(self) -> Callable[[int, int], None] | None:
        from deepdiva.cli.console import is_terminal

        return self._show if is_terminal(sys.stderr) else None

    def _show(self, done: int, total: int) -> None:
        if self._progress is None:
            from rich.console import Console
            from rich.progress import Progress

            self._progress = Progress(console=Console(stderr=True), transient=True)
            self._task = self._progress.add_task("images", total=total)
            self._progress.start()
        self._progress.update(self._task, completed=done)


def _write_page(found: Analysis, root: Path, scope: Scope, page: Path) -> None:
    from deepdiva.data.examples import choose_examples, thumbnails
    from deepdiva.data.footprint import Recorder
    from deepdiva.runs.storage import Storage
    from deepdiva.visualization.data_page import MOST_LISTED, data_page

    layout, _ = scope.apply(Recorder(root))
    chosen = {label or "all images": names for label, names in choose_examples(layout).items()}
    crossing_first = sorted(found.duplicates, key=lambda one: (not one.crosses_splits, not one.crosses_classes))
    names = [name for part in chosen.values() for name in part] + [one.files[0] for one in crossing_first[:MOST_LISTED]]
    text = data_page(found.to_mapping(), chosen, thumbnails(root, dict.fromkeys(names)))
    Storage().write(page, text.encode("utf-8", "backslashreplace"))


def _report(found: Analysis) -> None:
    from deepdiva.cli.console import say
    from deepdiva.visualization.data_page import bytes_text, findings

    say(
        f"{found.source}: {found.images:,} images, {bytes_text(found.size)}, {len(found.classes)} classes", style="bold"
    )
    say(f"footprint {found.root or 'none, since files cannot be read'}", style="dim")
    say()
    _print_parts(found)
    say()
    if found.classes:
        _print_classes(found)
        say()
    height, width, count = found.sizes[0]
    rest = (
        "" if found.different_sizes == 1 else f" ({count:,} of them; {found.different_sizes:,} sizes, {_range(found)})"
    )
    colours = f"{found.gray:,} gray and {found.images - found.gray:,} RGB"
    say(f"size {width} x {height}{rest}, {colours}, {', '.join(f'{name} {n:,}' for name, n in found.formats.items())}")
    styles = {"bad": "red", "fair": "yellow", "good": "green"}
    for grade, what, meaning in findings(found.to_mapping()):
        say(f"{what}: {meaning}", style=styles[grade])
    _print_lists(found)


def _range(found: Analysis) -> str:
    heights, widths, ratios = found.heights, found.widths, found.aspect_ratios
    return (
        f"widths {widths.minimum:.0f} to {widths.maximum:.0f}, heights {heights.minimum:.0f} to {heights.maximum:.0f}, "
        f"aspect ratios {ratios.minimum:.2f} to {ratios.maximum:.2f}"
    )


def _print_parts(found: Analysis) -> None:
    from deepdiva.cli.console import Column, Table, print_table

    columns = [Column("name", "split"), Column("images", "images", "{:,}".format, right=True)]
    columns += [Column("pixels", "pixels", "{:,}".format, right=True)]
    columns += [Column("mean", "mean", _decimals, right=True), Column("std", "deviation", _decimals, right=True)]
    rows = [[part.name, part.images, part.pixels, part.mean, part.std] for part in found.parts]
    print_table(Table(columns, rows))


def _print_classes(found: Analysis) -> None:
    from deepdiva.cli.console import Column, Table, note, print_table

    columns = [Column("class", "class", fold=True)]
    columns += [Column(part.name, part.name, "{:,}".format, right=True) for part in found.parts]
    order = range(len(found.classes))
    shown = list(order)[: 4 * MOST_SHOWN]
    rows = [[found.classes[place], *(part.classes[place] for part in found.parts)] for place in shown]
    print_table(Table(columns, rows))
    if len(shown) < len(order):
        note(f"{len(shown)} of {len(order)} classes; --json has all", style="dim")


def _print_lists(found: Analysis) -> None:
    """Names behind the findings: every unreadable file, and the first of what there may be thousands of."""
    from deepdiva.cli.console import say

    for unreadable in found.unreadable:
        say(f"  {unreadable.file}: {unreadable.reason}")
    serious = [one for one in found.duplicates if one.crosses_splits or one.crosses_classes]
    for one in [*serious, *(other for other in found.duplicates if other not in serious)][:MOST_SHOWN]:
        say(f"  {' = '.join(one.files[:4])}{' = …' if len(one.files) > 4 else ''}")
    for group in found.straddling[:MOST_SHOWN]:
        say(f"  group {group.group}: {', '.join(f'{split} {count:,}' for split, count in group.samples.items())}")
    hidden = max(0, len(found.duplicates) - MOST_SHOWN) + max(0, len(found.straddling) - MOST_SHOWN)
    if hidden:
        say(f"  … and {hidden:,} more; --json has all")


def _decimals(values: Any) -> str:
    return " ".join(f"{value:.6f}" for value in values)
