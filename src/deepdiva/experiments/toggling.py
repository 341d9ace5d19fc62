"""Exchanges what differs between two runs, one difference at a time: which of them makes B compute what A computed?"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from deepdiva.config.layers import get
from deepdiva.errors import UserError
from deepdiva.experiments.replay import Replay, World
from deepdiva.runs.difference import Difference

MOST = 8
"""Differences that are tried one by one, the most likely first; each takes the start of a process."""

_CAPABILITIES = {"DEFAULT": "default", "AVX2": "avx2", "AVX512": "avx512"}


@dataclass(frozen=True)
class Suspect:
    """A difference that may be the cause, and what came of giving B what A had.

    Args:
        difference: The difference.
        confirmed: Whether B then computed A's bits; None where it could not be tried.
        note: Why it could not be tried, or what else is to be said.
    """

    difference: Difference
    confirmed: bool | None
    note: str = ""


def suspects_among(differences: Sequence[Difference]) -> list[Difference]:
    """What is worth a trial: what can change a result; what should not be able to only where nothing else differs."""
    real = [item for item in differences if not item.harmless and item.kind != "numerics"]
    rest = [item for item in differences if item.harmless and item.kind == "config"]
    return (real or rest)[:MOST]


@contextmanager
def toggled(b: World, a: World, difference: Difference) -> Iterator[World]:
    """B with what A had in one respect.

    Raises:
        UserError: It cannot be exchanged here.
    """
    if difference.kind == "code":
        with _with_file(b, a, difference) as world:
            yield world
    elif difference.kind == "data":
        yield _with_data(b, a)
    else:
        yield _exchanged(b, a, difference)


def together(b: World, a: World, differences: Sequence[Difference]) -> World:
    """B with what A had in all these respects, and in no other; its data stay, and of the code all files go along."""
    world = b.with_code(a) if any(item.kind == "code" for item in differences) else b
    for difference in differences:
        if difference.kind not in ("code", "data") and difference.what != "data":
            with suppress(UserError):  # what cannot be exchanged alone cannot be exchanged with others
                world = _exchanged(world, a, difference)
    return world


def verdict_of(replayed: Replay, a: World, b: World) -> tuple[bool, str]:
    """Whether a toggled B computes A's bits, and what else is to be said."""
    if replayed.agrees_with(a.run):
        return True, ""
    return False, "B still computes its own bits" if replayed.agrees_with(b.run) else "B computes other bits again"


def _exchanged(b: World, a: World, difference: Difference) -> World:
    """B with one setting, variable or number of threads of A."""
    if difference.kind in ("config", "seed"):
        return _with_setting(b, a, _outside_lists(difference.what))
    if difference.what == "threads":
        return b.with_setting("threads", a.config.get("threads"))
    if difference.part == "variable":
        return b.with_variables({difference.what: difference.a})
    if difference.what != "capability":
        raise UserError(f"{difference.what} cannot be exchanged in this environment")
    capability = _CAPABILITIES.get(str(difference.a))
    if capability is None:
        raise UserError(f"the instruction set {difference.a} cannot be asked for")
    return b.with_variables({"ATEN_CPU_CAPABILITY": capability})


def _outside_lists(path: str) -> str:
    """The path of the list, for a setting inside of one: lists are exchanged whole.

    >>> _outside_lists("task.augment.0.p"), _outside_lists("optimizer.lr")
    ('task.augment', 'optimizer.lr')
    """
    return ".".join(takewhile(lambda part: not part.isdecimal(), path.split(".")))


def _with_setting(b: World, a: World, path: str) -> World:
    missing = object()
    value: Any = get(a.config, path, missing)
    if value is not missing:
        return b.with_setting(path, value)
    above, _, leaf = path.rpartition(".")
    inside = get(b.config, above, {}) if above else b.config
    rest = {name: item for name, item in inside.items() if name != leaf}
    return b.with_setting(above, rest) if above else replace(b, config=rest)


@contextmanager
def _with_file(b: World, a: World, difference: Difference) -> Iterator[World]:
    """B's code with A's version of one file."""
    name = difference.what
    ours, theirs = a.code.root / name, b.code.root / name
    if not ours.is_file() and not theirs.is_file():
        raise UserError(f"{name} is no file that could be exchanged")
    kept = Path(tempfile.mkdtemp(prefix="deepdiva-kept-")) / "file"
    if theirs.exists():
        shutil.move(theirs, kept)
    try:
        if ours.is_file():
            theirs.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ours, theirs)
        yield b
    finally:
        theirs.unlink(missing_ok=True)
        if kept.exists():
            shutil.move(kept, theirs)
        shutil.rmtree(kept.parent, ignore_errors=True)


def _with_data(b: World, a: World) -> World:
    source = a.config.get("data")
    if source is None or source == b.config.get("data"):
        raise UserError("both runs read the data from the same place, where only one version can be")
    world = b.with_setting("data", str((a.code.directory / str(source)).resolve()))
    return replace(world, data_of=a.run)
