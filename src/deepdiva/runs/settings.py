"""The few choices a project or a person makes once: read from TOML, the project's file above the person's."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from deepdiva.errors import Problem, UserError, UserErrors, did_you_mean

CodePolicy = Literal["commit", "snapshot"]

PROJECT_FILE = "deepdiva.toml"
CHOICES: Mapping[str, tuple[str, ...]] = {"code": get_args(CodePolicy)}
SIZES = ("cache_limit",)
UNITS: Mapping[str, int] = {"MB": 10**6, "GB": 10**9, "TB": 10**12, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


@dataclass(frozen=True)
class Settings:
    """What a project or a person decided.

    Args:
        code: `commit` refuses to run with uncommitted changes; `snapshot` always takes a copy and never refuses.
        cache_limit: How much disk the decoded images of all data sets may take together, such as `20 GB`; `0 GB`
            keeps none.
        origins: For each setting that a file decided, the file.
    """

    code: CodePolicy = "commit"
    cache_limit: str = "20 GB"
    origins: Mapping[str, str] = field(default_factory=dict)


def read_settings(directory: Path) -> Settings:
    """The settings that hold in `directory`: nearest project file, then the user's own, then the defaults."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for source, table in (_user_table(), _project_table(directory)):
        _check(table, source)
        values |= table
        origins |= dict.fromkeys(table, str(source))
    return Settings(**values, origins=origins)


def parse_size(text: Any) -> int | None:
    """The bytes in a size such as `20 GB` or `1.5 TiB`; None where it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([MGT]i?B)", text) if isinstance(text, str) else None
    return None if match is None else int(float(match[1]) * UNITS[match[2]])


def user_file() -> Path:
    """Where a person's own settings are kept: `$XDG_CONFIG_HOME/deepdiva/settings.toml`."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    return Path(base) / "deepdiva" / "settings.toml"


def _user_table() -> tuple[Path, dict[str, Any]]:
    path = user_file()
    return path, _read(path) if path.is_file() else {}


def _project_table(directory: Path) -> tuple[Path, dict[str, Any]]:
    """The nearest `deepdiva.toml`, or `[tool.deepdiva]` of a `pyproject.toml`, at or above `directory`."""
    start = directory.resolve()
    for folder in (start, *start.parents):
        own = folder / PROJECT_FILE
        if own.is_file():
            return own, _read(own)
        shared = folder / "pyproject.toml"
        if shared.is_file():
            table = _read(shared).get("tool", {}).get("deepdiva")
            if isinstance(table, dict):
                return shared, table
    return start / PROJECT_FILE, {}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not valid TOML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


def _check(table: Mapping[str, Any], source: Path) -> None:
    known = [item.name for item in fields(Settings) if item.name != "origins"]
    problems = []
    for name, value in table.items():
        if name not in known:
            hint = did_you_mean(name, known) or f"known settings: {', '.join(known)}"
            problems.append(Problem(f"unknown setting '{name}'", str(source), hint))
        elif name in SIZES:
            if parse_size(value) is None:
                problems.append(Problem(f"{name} = {value!r}", str(source), 'write a size such as "20 GB"'))
        elif value not in CHOICES[name]:
            problems.append(Problem(f"{name} = {value!r}", str(source), f"one of: {', '.join(CHOICES[name])}"))
    if problems:
        raise UserErrors(problems)
