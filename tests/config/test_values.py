"""Components, ranges, and what can be written to a file."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from enum import Enum
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from deepdiva.config import Component, Range
from deepdiva.config.values import in_words, is_plain, plain


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "component"),
    [
        ("cnn", Component("cnn")),
        ({"class": "my.Net", "hidden": (1, 2)}, Component("my.Net", {"hidden": [1, 2]})),
        (Component("cnn", {"width": 3}), Component("cnn", {"width": 3})),
    ],
)
def test_forms_of_a_component(value: object, component: Component):
    assert Component.parse(value) == component
    assert TypeAdapter(Component).validate_python(value) == component


@pytest.mark.parametrize("value", [3, None, {"hidden": 3}, [], {"class": 3}, {"class": ""}, ""])
def test_what_is_no_component(value: object):
    with pytest.raises(ValueError, match="component"):
        Component.parse(value)
    with pytest.raises(ValidationError):
        TypeAdapter(Component).validate_python(value)


def test_a_component_is_written_in_its_shortest_form():
    assert Component("cnn").to_value() == "cnn"
    assert Component("cnn", {"width": 3}).to_value() == {"class": "cnn", "width": 3}
    assert TypeAdapter(Component).dump_python(Component("cnn", {"width": 3})) == {"class": "cnn", "width": 3}


def test_a_component_inside_a_component_becomes_a_mapping():
    outer = Component("Wrapper", {"inner": Component("cnn", {"width": 3}), "other": Component("mlp")})
    assert outer.arguments == {"inner": {"class": "cnn", "width": 3}, "other": "mlp"}


def test_a_component_is_frozen_and_can_be_sent_to_another_process():
    component = Component("cnn", {"width": 3})
    with pytest.raises(FrozenInstanceError):
        component.target = "mlp"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(component)) == component


def test_plain_values():
    assert plain({"a": (1, 2.0), "b": Path("x/y"), "c": Colour.RED, "d": None, "e": True}) == {
        "a": [1, 2.0],
        "b": "x/y",
        "c": "red",
        "d": None,
        "e": True,
    }
    numbers = plain([np.int64(3), np.float64(0.5), np.float32(0.25)])
    assert numbers == [3, 0.5, 0.25]
    assert [type(number) for number in numbers] == [int, float, float]


@pytest.mark.parametrize("value", [object(), {1: 2}, {1, 2}, b"x", np.zeros(2), len])
def test_what_cannot_be_written(value: object):
    assert not is_plain(value)
    with pytest.raises(TypeError, match="cannot be written"):
        plain([value])


@pytest.mark.parametrize(
    ("limits", "good", "bad", "words"),
    [
        (Range(0, 1), (0, 0.5, 1), (-0.1, 1.1), "from 0 to 1"),
        (Range(1), (1, 5), (0.9,), "of at least 1"),
        (Range(gt=0, lt=1), (0.1,), (0, 1), "above 0 and below 1"),
        (Range(le=3), (3,), (4,), "of at most 3"),
    ],
)
def test_ranges(limits: Range, good: tuple[float, ...], bad: tuple[float, ...], words: str):
    adapter = TypeAdapter(Annotated[float, limits])
    assert [adapter.validate_python(number) for number in good] == list(good)
    for number in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(number)
    assert str(limits) == words


def test_received_values_in_words():
    assert in_words("ten") == "the text 'ten'"
    assert in_words([1, "a", None, {"b": True}]) == "[1, 'a', null, {b: true}]"
    assert in_words(None) == "null"
    assert len(in_words(list(range(1000)))) == 80
