"""What is written reads back to the same values, also by readers of YAML 1.1."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deepdiva.config.yaml_reader import read_text
from deepdiva.config.yaml_writer import write, write_flow, write_lines

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
keys = st.text(max_size=40)
nested = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


def same(left: object, right: object) -> bool:
    """Equal in value and type: 1 is not 1.0, 0.0 is not -0.0."""
    return repr(left) == repr(right)


@given(st.dictionaries(keys, nested, max_size=6))
def test_what_is_written_reads_back(values: dict[str, object]):
    text = write(values)
    document = read_text(text, "x")
    assert document.problems == []
    assert same(document.values, values)
    assert write(document.values) == text


@given(st.dictionaries(st.text(st.characters(codec="ascii"), max_size=9), st.text(max_size=9) | st.booleans()))
def test_other_readers_read_the_same_text(values: dict[str, object]):
    assert yaml.safe_load(write(values)) == values


def test_the_form_is_plain():
    values = {
        "epochs": 3,
        "betas": [0.9, 0.999],
        "model": {"class": "my_models.py:MyNet", "hidden": [64, [1, 2]], "more": {}},
        "augment": [{"class": "Flip", "p": 0.5}, "Blur", [{"a": 1}]],
        "note": "two words",
        "empty": [],
    }
    assert write(values) == (
        "epochs: 3\n"
        "betas: [0.9, 0.999]\n"
        "model:\n"
        "  class: my_models.py:MyNet\n"
        "  hidden: [64, [1, 2]]\n"
        "  more: {}\n"
        "augment:\n"
        "  - class: Flip\n"
        "    p: 0.5\n"
        "  - Blur\n"
        "  -\n"
        "    - a: 1\n"
        'note: "two words"\n'
        "empty: []\n"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-5, "1e-05"), (0.1, "0.1"), (1e22, "1e+22"), (1.0, "1.0"), (-0.0, "-0.0"), (math.inf, ".inf"),
        (-math.inf, "-.inf"), (math.nan, ".nan"), (True, "true"), (None, "null"), ("no", '"no"'), ("1e5", '"1e5"'),
        ("", '""'),
        ("Zürich ☃", '"Zürich ☃"'), ("a\nb\x00\u2028", '"a\\nb\\x00\\u2028"'), ("\U0001f600", '"\U0001f600"'),
        ("null", '"null"'), (".inf", '".inf"'), ("runs/a.b", "runs/a.b"), ({"a": [1]}, "{a: [1]}"), ("a:", '"a:"'),
    ],
)  # fmt: skip
def test_single_values(value: object, text: str):
    assert write_flow(value) == text


def test_nothing_is_an_empty_mapping():
    assert write({}) == "{}\n"


def test_lines_know_their_paths():
    lines = write_lines({"a": {"b": 1}, "c": [{"d": 2, "e": 3}]})
    assert lines == [("", "a:"), ("a.b", "  b: 1"), ("c", "c:"), ("c.0", "  - d: 2"), ("c.0.e", "    e: 3")]
