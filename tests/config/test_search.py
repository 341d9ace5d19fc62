"""Search ranges: how they are written, and what is wrong with them."""

from __future__ import annotations

import pytest

from deepdiva.config import SearchRange
from deepdiva.config.schema import WrongValue
from deepdiva.config.search import find_ranges, is_range, parse_range


@pytest.mark.parametrize(
    ("text", "kind", "arguments"),
    [
        ("loguniform(1e-4, 1e-1)", "loguniform", (1e-4, 1e-1)),
        (" uniform( 0,1 ) ", "uniform", (0, 1)),
        ("integers(1, 8)", "integers", (1, 8)),
        ("logintegers(8, 512)", "logintegers", (8, 512)),
        ("choice(SGD, AdamW, null, [1, 2], 3)", "choice", ("SGD", "AdamW", None, [1, 2], 3)),
        ("choice({class: cnn, width: 3})", "choice", ({"class": "cnn", "width": 3},)),
    ],
)
def test_ranges_are_read(text: str, kind: str, arguments: tuple[object, ...]):
    assert is_range(text)
    assert parse_range(text) == SearchRange(kind, arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("uniform(1)", "needs two numbers"),
        ("uniform(a, b)", "needs two numbers"),
        ("uniform(true, 2)", "needs two numbers"),
        ("integers(1, 2.5)", "needs two whole numbers"),
        ("uniform(2, 1)", "needs its lower end first"),
        ("loguniform(0, 1)", "needs ends above 0"),
        ("choice()", "has nothing to choose from"),
        ("choice([1)", "cannot be read"),
        ("normal(0, 1)", "expected a search range"),
    ],
)
def test_what_is_wrong_with_a_range(text: str, message: str):
    with pytest.raises(WrongValue, match=message):
        parse_range(text)


@pytest.mark.parametrize("value", ["uniform", "my uniform(1, 2)", "f(x)", 3, None, ["uniform(1, 2)"]])
def test_what_is_no_range(value: object):
    assert not is_range(value)


def test_ranges_are_found_at_any_depth():
    values = {"a": "uniform(0, 1)", "b": {"c": [1, {"d": "choice(1, 2)"}]}, "e": "text"}
    assert list(find_ranges(values)) == [("a", "uniform(0, 1)"), ("b.c.1.d", "choice(1, 2)")]
