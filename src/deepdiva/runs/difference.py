"""One difference between two runs, and how the values in it are written for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["config", "code", "data", "environment", "numerics", "seed"]

LISTED = 1000
"""Differences of one sort that are named one by one; a data set that was replaced as a whole has millions."""


@dataclass(frozen=True)
class Difference:
    """Something that is not the same for two runs, A and B.

    Args:
        kind: What sort of thing it is.
        what: Its name: `optimizer.lr`, `model.py`, `train/3/img.png`, `torch`, `threads`, `MKL_CBWR`.
        a: What it is for A; None where A does not have it.
        b: What it is for B; None where B does not have it.
        detail: More about it, over several lines where that helps, such as the hunks of a changed file.
        harmless: Whether it cannot change a result, unless the task breaks the rules.
        part: What `what` names where the kind leaves it open: `package`, `variable`, `torch`, `machine`, `python`,
            `determinism` or `place` of an environment, `file`, `split` or `statistics` of data.
    """

    kind: Kind
    what: str
    a: str | None
    b: str | None
    detail: str = ""
    harmless: bool = False
    part: str = ""


def one_sided(kind: Kind, what: str, records: Sequence[object | None], detail: str) -> list[Difference]:
    """What to say where a record is missing: nothing where both lack it."""
    there = [None if record is None else "recorded" for record in records]
    return [] if there[0] == there[1] else [Difference(kind, what, there[0], there[1], detail)]


def written(value: Any) -> str:
    """A value of a record as text for any terminal: text as it stands, everything else as JSON.

    >>> written("AdamW"), written(None), written([1, 0.5])
    ('AdamW', 'null', '[1, 0.5]')
    """
    return printable(value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False))


def printable(text: str) -> str:
    """Text on one line: what steers a terminal, and bytes that are no text, are written as escapes."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def is_same(a: Any, b: Any) -> bool:
    """Whether two values of a record are the same: NaN is itself, 1 is 1.0, and neither is true."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(is_same(*pair) for pair in zip(a, b, strict=True))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(is_same(a[key], b[key]) for key in a)
    return bool(a == b) or (isinstance(a, float) and isinstance(b, float) and a != a and b != b)


def table(value: Any) -> Mapping[str, Any]:
    """A mapping out of a record that a stranger may have written; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def shortened(differences: Iterable[Difference], what: str) -> list[Difference]:
    """The first of many differences, and one that counts the rest: `2000 more files`."""
    found = list(differences)
    rest = len(found) - LISTED
    if rest <= 0:
        return found
    more = Difference(found[0].kind, f"{rest} more {what}", None, None, "not listed", part=found[0].part)
    return [*found[:LISTED], more]
