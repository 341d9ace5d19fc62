"""The command `runs verify`: whether every file of a run is what was written."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepdiva.runs.verification import Part

_STYLES = {"good": "green", "damaged": "bold red", "unproved": "yellow"}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of `runs`."""
    parser = commands.add_parser(
        "verify",
        help="check every file of a run against what was written",
        description="Check every file of a run against what was written. Exit status: 0 nothing is damaged, 1 damaged.",
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", help="a path, an id, the beginning of one, or 'last'")
    parser.add_argument("--runs-dir", default="runs", metavar="DIR", help="where the runs are kept (default: runs)")
    parser.add_argument("--json", action="store_true", help="print the answer for machines")
    parser.set_defaults(func=verify_run)


def verify_run(arguments: argparse.Namespace) -> int:
    """Print what was found of every part of a run; 1 where something is damaged."""
    from dataclasses import asdict

    from deepdiva.cli.console import print_json
    from deepdiva.runs.folder import find_folder
    from deepdiva.runs.verification import verify

    folder = find_folder(arguments.run, arguments.runs_dir)
    parts = verify(folder)
    damaged = [part for part in parts if part.state == "damaged"]
    if arguments.json:
        print_json({"path": str(folder), "damaged": len(damaged), "parts": [asdict(part) for part in parts]})
    else:
        _print(parts)
    return 1 if damaged else 0


def _print(parts: list[Part]) -> None:
    from deepdiva.cli.console import printable, say, styled

    width = max(len(printable(part.name)) for part in parts)
    for part in parts:
        state = styled(part.state.ljust(8), _STYLES[part.state])
        say(f"{state}  {printable(part.name).ljust(width)}  {printable(part.detail)}".rstrip())
    damaged = sum(part.state == "damaged" for part in parts)
    say()
    if damaged:
        say(f"damaged: {damaged} of {len(parts)} parts", style="bold red")
    else:
        say("nothing is damaged", style="green")
