"""Values of a stranger's record are shown on one line, compared by what they are, and never too many."""

from __future__ import annotations

import math

import pytest

from deepdiva.runs.difference import LISTED, Difference, is_same, one_sided, shortened, table, written


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (1, 1.0, True),
        (1, True, False),
        (True, True, True),
        (math.nan, math.nan, True),
        ([math.nan, 1], [math.nan, 1], True),
        ([1], [1, 2], False),
        ({"x": [1]}, {"x": [1]}, True),
        ({"x": 1}, {"y": 1}, False),
        (None, 0, False),
        ("1", 1, False),
    ],
    ids=repr,
)
def test_what_is_the_same(a, b, same):
    assert is_same(a, b) is is_same(b, a) is same


def test_what_would_steer_a_terminal_is_escaped():
    assert written("red \x1b[31m\n") == r"red \x1b[31m\n"
    assert written({"ä": "\x07"}) == r'{"ä": "\u0007"}'


def test_a_mapping_is_taken_and_nothing_else():
    assert table({"a": 1}) == {"a": 1}
    assert table([1]) == table(None) == table("x") == {}


def test_more_than_can_be_read_is_counted():
    many = [Difference("data", str(number), "a", "b", part="file") for number in range(LISTED + 5)]
    found = shortened(many, "files")
    assert len(found) == LISTED + 1
    assert (found[-1].what, found[-1].part) == ("5 more files", "file")
    assert shortened(many[:3], "files") == many[:3]
    assert shortened([], "files") == []


def test_a_record_that_only_one_has():
    assert one_sided("code", "code.json", (None, None), "x") == []
    assert one_sided("code", "code.json", ({}, None), "x") == [Difference("code", "code.json", "recorded", None, "x")]
