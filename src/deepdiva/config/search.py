"""Search ranges that stand in place of a value: `loguniform(1e-4, 1e-1)`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deepdiva.config.schema import WrongValue
from deepdiva.config.yaml_reader import read_flow
from deepdiva.errors import UserError

KINDS = {
    "uniform": "uniform(low, high)",
    "loguniform": "loguniform(low, high)",
    "integers": "integers(low, high)",
    "logintegers": "logintegers(low, high)",
    "choice": "choice(first, second, …)",
}
"""The kinds of range and how each is written; both ends are included."""

_CALL = re.compile(rf"\s*({'|'.join(KINDS)})\s*\((.*)\)\s*", re.DOTALL)


@dataclass(frozen=True)
class SearchRange:
    """The values that tuning may give a setting.

    Args:
        kind: One of `uniform`, `loguniform`, `integers`, `logintegers`, `choice`.
        arguments: The two ends, or the values to choose from.
    """

    kind: str
    arguments: tuple[Any, ...]


def is_range(value: Any) -> bool:
    """Whether the value is text that has the form of a search range."""
    return isinstance(value, str) and _CALL.fullmatch(value) is not None


def parse_range(text: str) -> SearchRange:
    """The range that a text such as `loguniform(1e-4, 1e-1)` stands for; WrongValue says what is wrong with it."""
    match = _CALL.fullmatch(text)
    if match is None:
        raise WrongValue(f"expected a search range such as `loguniform(1e-4, 1e-1)`, got {text!r}")
    kind = match[1]
    try:
        arguments = tuple(read_flow(f"[{match[2]}]"))
    except UserError:
        raise WrongValue(f"the search range {text!r} cannot be read", f"write {KINDS[kind]}") from None
    if kind == "choice":
        if not arguments:
            raise WrongValue(f"the search range {text!r} has nothing to choose from", f"write {KINDS[kind]}")
    else:
        _check_ends(text, kind, arguments)
    return SearchRange(kind, arguments)


def _check_ends(text: str, kind: str, ends: tuple[Any, ...]) -> None:
    allowed = int if kind.endswith("integers") else int | float
    if len(ends) != 2 or any(isinstance(end, bool) or not isinstance(end, allowed) for end in ends):
        numbers = "whole numbers" if allowed is int else "numbers"
        raise WrongValue(f"the search range {text!r} needs two {numbers}", f"write {KINDS[kind]}")
    low, high = ends
    if not low < high:
        raise WrongValue(f"the search range {text!r} needs its lower end first")
    if kind.startswith("log") and low <= 0:
        raise WrongValue(f"the search range {text!r} needs ends above 0")


def find_ranges(values: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Dotted path and text of every search range inside nested values."""
    if is_range(values):
        yield path, values
    elif isinstance(values, dict | list):
        items = values.items() if isinstance(values, dict) else enumerate(values)
        for key, value in items:
            yield from find_ranges(value, f"{path}.{key}" if path else str(key))
