"""`deepdiva data footprint`, `verify`, `export`: what a data set holds, whether it still does, and telling others."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepdiva.errors import UserError

if TYPE_CHECKING:
    from deepdiva.data.changes import Changes
    from deepdiva.data.expected import Expectation
    from deepdiva.data.footprint import Footprint

_ABOUT = {
    "name": "what the set is called (default: the name of the folder)",
    "description": "what it holds",
    "license": "the address of its licence",
    "url": "where it is described",
    "creator": "who made it",
    "cite-as": "how it is cited",
    "version": "which one it is, such as 1.0.0",
    "published": "the day of its publication, such as 2026-11-21",
}


def add_parsers(commands: Any) -> None:
    """Adds `footprint`, `verify` and `export`."""
    taken = _add(commands, "footprint", take, "take the footprint of a data set, and remember it")
    taken.add_argument("--save", type=Path, metavar="FILE", help="write it into a file, for `verify --against FILE`")
    taken.add_argument("--write-into", action="store_true", help="write it into the data set, so that it travels along")
    taken.add_argument(
        "--replace", action="store_true", help="replace another footprint that --save or --write-into finds"
    )
    verified = _add(commands, "verify", verify, "say whether a data set is what its footprint says: 0 yes, 1 no")
    verified.add_argument("--against", metavar="FILE|RUN", help="a saved footprint, or a run that read the data set")
    verified.add_argument("--runs-dir", default="runs", metavar="DIR", help="where the runs are kept (default: runs)")
    exported = _add(commands, "export", export, "describe a data set as Croissant JSON-LD")
    exported.add_argument("--to", type=Path, metavar="FILE", help="a new file beside the data set (default: print it)")
    for name, text in _ABOUT.items():
        exported.add_argument(f"--{name}", metavar="TEXT", help=text)


def take(arguments: argparse.Namespace) -> int:
    """`deepdiva data footprint PATH`."""
    from deepdiva.cli.console import note, say
    from deepdiva.data.expected import expectation_for, remember, remembered
    from deepdiva.data.files import WRITTEN_PROOF
    from deepdiva.data.footprint import footprint

    path = _path(arguments)
    found = footprint(path, deep=arguments.deep, threads=arguments.threads)
    _warn(found, path)
    places = [arguments.save] if arguments.save is not None else []
    if arguments.write_into:
        if found.kind == "file":
            raise UserError(f"{path} is a file: nothing can be written into it", "use --save FILE")
        places.append(path / WRITTEN_PROOF)
    known = remembered(path) if arguments.write_into else expectation_for(path)
    for place in places:
        _check_free(place, found, replace=arguments.replace)
    for place in places:
        _write(place, found.to_json())
        note(f"wrote {place}")
    if known is not None and known.root != found.root:
        _contradict(known, path)
    remember(found, path, origin="a footprint taken")
    if arguments.json:
        print(found.to_json(), end="")
    else:
        say(f"{found.root}  {_amount(found)}")
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """`deepdiva data verify PATH`; 0 when nothing has changed, 1 otherwise."""
    from deepdiva.cli.console import print_json
    from deepdiva.data.expected import check, expectation_for

    path = _path(arguments)
    expected = expectation_for(path) if arguments.against is None else _named(arguments)
    if expected is None:
        hint = f"`deepdiva data footprint {path}` takes one; or name one with --against"
        raise UserError(f"no footprint of {path} is known", hint)
    found, changes = check(expected, path, deep=arguments.deep, threads=arguments.threads)
    if arguments.json:
        print_json(_answer(path, expected, found, changes))
    else:
        _tell(path, expected, found, changes)
    return 1 if changes else 0


def export(arguments: argparse.Namespace) -> int:
    """`deepdiva data export PATH`."""
    from deepdiva.cli.console import note
    from deepdiva.data.croissant import About, describe
    from deepdiva.data.footprint import footprint

    path = _path(arguments)
    target: Path | None = arguments.to
    if target is not None:
        if target.exists():
            raise UserError(f"{target} exists already", "choose another name; nothing was written")
        if target.resolve().parent not in path.resolve().parents:
            # Readers look only at or below the folder of the description, and the data set stays as it is.
            raise UserError(f"{target} does not lie beside or above the data set", f"such as --to {path}.json")
    found = footprint(path, deep=arguments.deep, threads=arguments.threads)
    given = {name.replace("-", "_"): getattr(arguments, name.replace("-", "_")) for name in _ABOUT}
    about = About(**{**given, "name": given["name"] or path.resolve().name})
    base = path.parent if found.kind == "file" else path
    location = "" if target is None else os.path.relpath(base.resolve(), target.resolve().parent)
    text = json.dumps(describe(found, about, location=location), indent=1) + "\n"
    if target is None:
        print(text, end="")
    else:
        _write(target, text)
        note(f"wrote {target}: {_amount(found)}")
    return 0


def _add(commands: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, allow_abbrev=False)
    parser.add_argument("path", type=Path, metavar="PATH", help="the data set: a folder, or one file")
    parser.add_argument("--deep", action="store_true", help="read every file, even those that seem untouched")
    parser.add_argument("--threads", type=_positive, metavar="N", help="how many read at once (default: one a core)")
    if name != "export":
        parser.add_argument("--json", action="store_true", help="the answer for machines")
    parser.set_defaults(func=function)
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of threads")
    return int(text)


def _path(arguments: argparse.Namespace) -> Path:
    from deepdiva.errors import did_you_mean

    path: Path = arguments.path
    if not path.exists():
        siblings = [str(path.parent / entry.name) for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"there is no file or folder {path}", did_you_mean(str(path), siblings))
    return path


def _named(arguments: argparse.Namespace) -> Expectation:
    """What `--against` names: a file with a footprint, otherwise a run."""
    from deepdiva.data.expected import Expectation, fitting, footprints_of_run, read_footprint
    from deepdiva.runs.folder import find_run

    named = Path(arguments.against)
    if named.is_file():
        return Expectation.of(read_footprint(named), f"the footprint {named}")
    run = find_run(arguments.against, arguments.runs_dir)
    footprints = footprints_of_run(run.path)
    found = fitting(footprints, arguments.path) or (footprints[0] if len(footprints) == 1 else None)
    if found is None:
        read = ", ".join(footprint.source for footprint in footprints) or "no files"
        raise UserError(f"run {run.id} did not read {arguments.path}: it read {read}")
    return Expectation.of(found, f"run {run.id}")


def _check_free(place: Path, found: Footprint, *, replace: bool) -> None:
    """Refuses to write over what is not the same footprint, unless that is wanted."""
    from deepdiva.data.expected import read_footprint

    if not place.exists() or replace:
        return
    try:
        same = place.is_file() and read_footprint(place).root == found.root
    except UserError:
        same = False
    if not same:
        raise UserError(f"{place} exists and says something else", "--replace writes the new footprint over it")


def _write(place: Path, text: str) -> None:
    from deepdiva.data.manifest import replace_file

    try:
        replace_file(place, text.encode(), mode=0o666)
    except OSError as error:
        raise UserError(f"{place} cannot be written: {error.strerror or error}") from error


def _warn(found: Footprint, path: Path) -> None:
    from deepdiva.cli.console import note

    if not found.files:
        note(f"{path} holds no files", style="yellow")


def _contradict(known: Expectation, path: Path) -> None:
    from deepdiva.cli.console import note, printable

    note(f"before, it was something else according to {printable(known.origin)}", style="yellow")
    if known.is_written:
        note(f"which still counts: `deepdiva data footprint {path} --write-into --replace` writes it anew")


def _amount(found: Footprint) -> str:
    return f"{len(found.files):,} {'file' if len(found.files) == 1 else 'files'}, {found.size:,} bytes"


def _answer(path: Path, expected: Expectation, found: Footprint, changes: Changes) -> dict[str, Any]:
    return {
        "path": str(path),
        "unchanged": not changes,
        "against": expected.origin,
        "expected": expected.root,
        "found": found.root,
        "added": changes.added,
        "removed": changes.removed,
        "changed": changes.changed,
        "renamed": changes.renamed,
        "unreadable": [str(problem) for problem in changes.unreadable],
    }


def _tell(path: Path, expected: Expectation, found: Footprint, changes: Changes) -> None:
    from deepdiva.cli.console import printable, say

    if not changes:
        say(f"{printable(str(path))} is unchanged, says {printable(expected.origin)}: {_amount(found)}", style="green")
        return
    problems = changes.problems()
    for problem in problems:
        say(str(problem))
    count = "1 difference" if len(problems) == 1 else f"{len(problems):,} differences"
    say(f"{printable(str(path))} has changed, says {printable(expected.origin)}: {count}", style="red")
