"""Settings with their types: read from a class with annotated fields, described in words, checked against values."""

from __future__ import annotations

import builtins
import dataclasses
import functools
import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from deepdiva.config.values import Component, Range, in_words
from deepdiva.config.yaml_reader import read_scalar
from deepdiva.errors import did_you_mean

REQUIRED: Any = object()
"""The default of a setting that has none."""

_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null", Path: "path"}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting: its dotted path, type, default (or `REQUIRED`) and what `--help` says of it."""

    path: str
    annotation: Any
    default: Any = REQUIRED
    description: str = ""

    @property
    def group(self) -> str:
        """The part of the path before the last dot; empty for a setting without a group."""
        return self.path.rpartition(".")[0]

    @property
    def leaf(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def is_component(self) -> bool:
        """Whether the value is a component, so that it may have arguments of its own."""
        return Component in members(self.annotation)

    @property
    def has_components(self) -> bool:
        """Whether the value is a component or a list of them."""
        inside = [item for member in members(self.annotation) for item in typing.get_args(member)]
        return self.is_component or Component in inside

    @property
    def is_flag(self) -> bool:
        """Whether the value is true or false, so that `--x` and `--no-x` are enough."""
        return members(self.annotation) <= {bool, type(None)} and bool in members(self.annotation)

    @property
    def is_text(self) -> bool:
        """Whether only text can be meant, so that `--experiment 2026` needs no quotation marks."""
        return members(self.annotation) <= {str, Path, type(None)}


class WrongValue(ValueError):
    """A value that does not fit its setting: the sentence, and a hint when the slip is a usual one."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def settings_of(cls: type, prefix: str = "") -> list[Setting]:
    """The settings that the fields of a dataclass or pydantic model declare; descriptions from its `Args` section."""
    descriptions: dict[str, str] = {}
    for owner in reversed(cls.__mro__[:-1]):  # fields are inherited, and so is what is said of them
        descriptions |= argument_descriptions(owner)
    found = []
    for name, (annotation, default) in _fields(cls).items():
        found.append(Setting(prefix + name, _evaluated(annotation, cls), default, descriptions.get(name, "")))
    return found


def _fields(cls: type) -> dict[str, tuple[Any, Any]]:
    """Name, written annotation and default of every field."""
    if not issubclass(cls, BaseModel):
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        return {field.name: (field.type, _field_default(field)) for field in fields if field.init}
    hints = typing.get_type_hints(cls, include_extras=True)
    return {
        name: (hints[name], info.default if info.default_factory is None and not info.is_required() else REQUIRED)
        for name, info in cls.model_fields.items()
    }


def _field_default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return REQUIRED if field.default_factory is dataclasses.MISSING else field.default_factory()


def _evaluated(annotation: Any, cls: type) -> Any:
    for owner in cls.__mro__:
        found = evaluated(annotation, vars(sys.modules.get(owner.__module__, builtins)))
        if found is not Any:
            return found
    return Any


def evaluated(annotation: Any, names: Mapping[str, Any]) -> Any:
    """A type from its written form; `Any` (never checked) when it names what only type checkers import."""
    if annotation is inspect.Parameter.empty:
        return Any
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, dict(names))
    except Exception:  # an annotation may hold any expression, and none may stop a run
        return Any


def argument_descriptions(described: Any) -> dict[str, str]:
    """What the `Args` section of a Google docstring says of each argument, on one line each."""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)*)", inspect.getdoc(described) or "", re.MULTILINE)
    found: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc("\n" + section[1] if section else "").splitlines():
        entry = re.match(r"(\w+)(?: \([^)]*\))?: *(.*)", line)
        if entry:
            name = entry[1]
            found[name] = entry[2]
        elif name and line.strip():
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found


def members(annotation: Any) -> set[Any]:
    """The alternatives of a type without their limits: `{int, NoneType}` for `Annotated[int, Range(1)] | None`."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return members(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return set().union(*(members(item) for item in typing.get_args(annotation)))
    return {annotation} if _is_hashable(annotation) else {Any}


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def choices(annotation: Any) -> tuple[str, ...]:
    """The words that a `Literal` or an `Enum` allows; empty for other types."""
    for member in members(annotation):
        if typing.get_origin(member) is typing.Literal:
            return tuple(str(item) for item in typing.get_args(member))
        if isinstance(member, type) and issubclass(member, Enum):
            return tuple(str(item.value) for item in member)
    return ()


def describe(annotation: Any) -> str:
    """What a type allows, in words: `a whole number of at least 1, or null`."""
    parts = [_describe_one(item, "") for item in _alternatives(annotation)]
    unique = list(dict.fromkeys(part for part in parts if part != "null"))
    text = " or ".join(unique)
    return f"{text}, or null" if "null" in parts and unique else text or "null"


def _alternatives(annotation: Any, limits: tuple[Any, ...] = ()) -> list[Any]:
    """The members of a union one by one, each still with its limits."""
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *metadata = typing.get_args(annotation)
        return _alternatives(inner, (*metadata, *limits))
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [part for item in typing.get_args(annotation) for part in _alternatives(item, limits)]
    return [typing.Annotated[(annotation, *limits)] if limits and annotation is not type(None) else annotation]


def _describe_one(annotation: Any, plural: str) -> str:
    """One alternative in words, in the plural when `plural` is `s`."""
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *metadata = typing.get_args(annotation)
        return f"{_describe_one(inner, plural)} {_limits(metadata)}".strip()
    options = choices(annotation)
    if options:
        return options[0] if len(options) == 1 else "one of " + ", ".join(options)
    if annotation in _WORDS:
        word = _WORDS[annotation]
        return word if annotation in (bool, str, type(None)) else f"{word}s" if plural else f"a {word}"
    if annotation is Component:
        return "components" if plural else "a class by its name, or {class: name, argument: value}"
    if annotation is Any or isinstance(annotation, str | typing.TypeVar):
        return "values" if plural else "any value"
    return _describe_container(annotation)


def _limits(metadata: Sequence[Any]) -> Range:
    """All limits in one, whether they are our `Range`, pydantic's `Field(gt=0)` or annotated_types' `Gt(0)`."""
    parts = [part for item in metadata for part in getattr(item, "metadata", [item])]
    found = {
        name: getattr(part, name, None) for part in parts for name in ("ge", "le", "gt", "lt") if hasattr(part, name)
    }
    return Range(**found)


def _describe_container(annotation: Any) -> str:
    origin = typing.get_origin(annotation) or annotation
    arguments = [item for item in typing.get_args(annotation) if item is not Ellipsis]
    if origin in (list, tuple, Sequence, Iterable, set, frozenset):
        count = f"{len(arguments)} " if origin is tuple and Ellipsis not in typing.get_args(annotation) else ""
        inner = (
            " or ".join(dict.fromkeys(_describe_one(part, "s") for part in _alternatives(arguments[0])))
            if arguments
            else "values"
        )
        return f"a list of {count}{inner}"
    if origin in (dict, Mapping):
        return "a mapping"
    name: str = getattr(annotation, "__qualname__", None) or str(annotation).replace("typing.", "")
    return name


def check(annotation: Any, value: Any) -> Any:
    """`value` in the type of `annotation` (lists become tuples, 1 becomes 1.0); WrongValue says what is wrong."""
    adapter = _adapter(annotation) if _is_hashable(annotation) else None
    if adapter is None:
        return value
    try:
        return adapter.validate_json(json.dumps(value), strict=True)
    except PydanticUserError:  # a name inside the type is known to type checkers only
        return value
    except ValidationError as error:
        if _is_abstract_number(annotation, value):
            return value
        raise wrong_value(annotation, value, error.errors()) from None


def _is_abstract_number(annotation: Any, value: Any) -> bool:
    """Whether a number is of a class such as `numbers.Number`, which torchvision asks for and pydantic knows not."""
    abstract = tuple(member for member in members(annotation) if getattr(member, "__module__", "") == "numbers")
    return isinstance(value, abstract) and not isinstance(value, bool)


@functools.lru_cache(maxsize=1024)
def _adapter(annotation: Any) -> TypeAdapter[Any] | None:
    """The checker of a type; None for a type that values from a file cannot be checked against."""
    try:
        if annotation is Component:  # pydantic takes no settings for a dataclass
            return TypeAdapter(annotation)
        return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True, strict=True))
    except (PydanticUserError, NameError, TypeError):
        return None


def wrong_value(annotation: Any, value: Any, details: Sequence[Mapping[str, Any]]) -> WrongValue:
    """The sentence for a value that pydantic refused with these details."""
    for detail in details:
        if detail["type"] == "value_error":
            return WrongValue(f"{detail['ctx']['error']}, got {in_words(value)}")
    return WrongValue(f"expected {describe(annotation)}, got {in_words(value)}", _hint(annotation, value))


def _hint(annotation: Any, value: Any) -> str | None:
    """Advice for the usual slips."""
    allowed = members(annotation)
    if isinstance(value, float) and value.is_integer() and int in allowed:
        return f"write {int(value)}"
    if isinstance(value, str):
        if choices(annotation):
            return did_you_mean(value, choices(annotation))
        if bool in allowed and value.lower() in ("yes", "no", "on", "off"):
            return f"write {'true' if value.lower() in ('yes', 'on') else 'false'}: YAML 1.2 reads `{value}` as text"
        if type(None) in allowed and value.lower() in ("none", "nil"):
            return "write null"
        if allowed & {int, float} and isinstance(read_scalar(value.replace("_", "").replace(",", "")), int | float):
            return "write the number without quotation marks, `_` and `,`"
    return None
