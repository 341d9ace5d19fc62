"""Types in words, values against types, and the advice for usual slips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Le
from pydantic import Field

from deepdiva.config import Component, Range
from deepdiva.config.schema import (
    REQUIRED,
    Setting,
    WrongValue,
    argument_descriptions,
    check,
    choices,
    describe,
    evaluated,
    members,
    settings_of,
)
from deepdiva.config.tree import Training


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "a whole number"),
        (Annotated[int, Range(1)] | None, "a whole number of at least 1, or null"),
        (Annotated[int | None, Range(1)], "a whole number of at least 1, or null"),
        (Annotated[float, Range(0, 1)], "a number from 0 to 1"),
        (Annotated[float, Field(gt=0)], "a number above 0"),
        (Annotated[int, Ge(1), Le(9)], "a whole number from 1 to 9"),
        (Annotated[float, "seconds"], "a number"),
        (str | None, "text, or null"),
        (bool, "true or false"),
        (Literal["a", "b"], "one of a, b"),
        (Literal["auto"] | int, "auto or a whole number"),
        (Colour, "one of red, blue"),
        (list[float], "a list of numbers"),
        (tuple[int, ...], "a list of whole numbers"),
        (tuple[int, int] | None, "a list of 2 whole numbers, or null"),
        (Sequence[str], "a list of text"),
        (list[int | str], "a list of whole numbers or text"),
        (list, "a list of values"),
        (tuple[Component, ...], "a list of components"),
        (list[Annotated[float, Range(gt=0)]], "a list of numbers above 0"),
        (dict[str, int], "a mapping"),
        (Path, "a path"),
        (Component | None, "a class by its name, or {class: name, argument: value}, or null"),
        (Any, "any value"),
        (type(None), "null"),
        (int | float, "a whole number or a number"),
        (Callable[..., int], "Callable"),
    ],
)
def test_types_in_words(annotation: object, words: str):
    assert describe(annotation) == words


@pytest.mark.parametrize(
    ("annotation", "value", "result"),
    [
        (int, 3, 3),
        (float, 1, 1.0),
        (tuple[int, ...], [1, 2], (1, 2)),
        (tuple[float, float] | None, [1, 2.5], (1.0, 2.5)),
        (list[float], [1], [1.0]),
        (Path, "a/b", Path("a/b")),
        (Colour, "red", Colour.RED),
        (Component | None, {"class": "x", "a": 1}, Component("x", {"a": 1})),
        (tuple[Component, ...], ["x"], (Component("x"),)),
        (float, float("inf"), float("inf")),
        (Any, {"a": [1]}, {"a": [1]}),
        (Callable[..., int] | None, None, None),
        (dict[str, int], {"a": 1}, {"a": 1}),
    ],
)
def test_values_take_the_type_of_their_setting(annotation: object, value: object, result: object):
    checked = check(annotation, value)
    assert checked == result
    assert type(checked) is type(result)


@pytest.mark.parametrize(
    ("annotation", "value", "message", "hint"),
    [
        (int, True, "expected a whole number, got true", None),
        (float, False, "expected a number, got false", None),
        (int, 10.0, "expected a whole number, got 10.0", "write 10"),
        (int, 1.5, "expected a whole number, got 1.5", None),
        (int, "ten", "expected a whole number, got the text 'ten'", None),
        (int, "1_000", "expected a whole number, got the text '1_000'", "without quotation marks, `_` and `,`"),
        (float, "0.1", "expected a number, got the text '0.1'", "without quotation marks, `_` and `,`"),
        (bool, "yes", "expected true or false, got the text 'yes'", "write true"),
        (bool, "off", "expected true or false, got the text 'off'", "write false"),
        (bool, 1, "expected true or false, got 1", None),
        (int | None, "None", "expected a whole number, or null, got the text 'None'", "write null"),
        (str, 3, "expected text, got 3", None),
        (str, None, "expected text, got null", None),
        (Literal["float32", "float16"], "flaot32", "expected one of float32, float16", "did you mean 'float32'?"),
        (tuple[int, int], [1], "expected a list of 2 whole numbers, got [1]", None),
        (list[int], "a", "expected a list of whole numbers, got the text 'a'", None),
        (Annotated[float, Range(0, 1)], 2, "expected a number from 0 to 1, got 2", None),
        (Component, {"a": 1}, "a component is a name", None),
        (str, "\udcff", "expected text", None),
    ],
)
def test_wrong_values_are_explained(annotation: object, value: object, message: str, hint: str | None):
    with pytest.raises(WrongValue) as caught:
        check(annotation, value)
    assert message in caught.value.message
    assert (caught.value.hint is None) if hint is None else hint in str(caught.value.hint)


def test_types_that_cannot_be_checked_pass():
    assert check("Unknown", 3) == 3
    assert check([1, 2], 3) == 3
    assert evaluated("Tensor | None", {}) is Any
    assert evaluated("1 / 0", {}) is Any
    assert evaluated("int | None", {"int": int}) == int | None


def test_settings_of_a_dataclass(task):
    found = {setting.path: setting for setting in settings_of(task.cls, "task.")}
    assert list(found)[:2] == ["task.label_smoothing", "task.size"]
    smoothing = found["task.label_smoothing"]
    assert smoothing.description == "Share of the target that is spread over all classes."
    assert smoothing.default == 0.0
    assert (smoothing.group, smoothing.leaf) == ("task", "label_smoothing")
    assert found["task.weights"].default == []
    assert found["task.start"].annotation is Any


def test_settings_of_a_model():
    found = {setting.path: setting for setting in settings_of(Training)}
    assert describe(found["clip_norm"].annotation) == "a number above 0, or null"
    assert found["validate_every"].default == 1
    assert all(setting.description for setting in found.values())


@pytest.mark.parametrize(
    ("annotation", "is_component", "has_components", "is_flag", "is_text"),
    [
        (Component | None, True, True, False, False),
        (tuple[Component, ...], False, True, False, False),
        (bool, False, False, True, False),
        (bool | None, False, False, True, False),
        (str | None, False, False, False, True),
        (Path, False, False, False, True),
        (str | int, False, False, False, False),
        (Any, False, False, False, False),
    ],
)
def test_kinds_of_settings(annotation: object, is_component: bool, has_components: bool, is_flag: bool, is_text: bool):
    setting = Setting("x", annotation)
    kinds = (setting.is_component, setting.has_components, setting.is_flag, setting.is_text)
    assert kinds == (is_component, has_components, is_flag, is_text)
    assert setting.default is REQUIRED


def test_members_and_choices():
    assert members(Annotated[int | None, Range(1)] | Mapping[str, int]) == {int, type(None), Mapping[str, int]}
    assert choices(Literal["a", "b"] | None) == ("a", "b")
    assert choices(int) == ()


def test_descriptions_come_from_the_args_section():
    def function() -> None:
        """Does it.

        Args:
            first: One line.
            second (int): Two
                lines: with a colon.

        Returns:
            third: no argument.
        """

    assert argument_descriptions(function) == {"first": "One line.", "second": "Two lines: with a colon."}
    assert argument_descriptions(int.__add__) == {}
