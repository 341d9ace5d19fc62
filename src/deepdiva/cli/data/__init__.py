"""`deepdiva data …`: get a data set, check it, split it, know it, make one."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

_MODULES = ("download", "split", "analyze", "footprint", "make", "cache")


def add_parser(subparsers: Any) -> None:
    """Adds `data` with its subcommands."""
    parser = subparsers.add_parser("data", help="get, check, split, analyse and make data sets", allow_abbrev=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in _MODULES:
        if find_spec(f"deepdiva.cli.data.{name}") is not None:
            import_module(f"deepdiva.cli.data.{name}").add_parsers(commands)
