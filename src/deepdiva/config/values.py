"""The values that a configuration is made of: components, ranges, and what can be written to a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from numbers import Integral, Real
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import annotated_types

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

CLASS = "class"
"""The key that names a component's class in YAML; as a reserved word of Python it cannot be an argument's name."""


@dataclass(frozen=True)
class Range(annotated_types.GroupedMetadata):
    """The numbers a setting allows: `Annotated[float, Range(0, 1)]`, `Annotated[float | None, Range(gt=0)]`.

    Args:
        ge: The smallest number allowed.
        le: The largest number allowed.
        gt: The number must lie above this one.
        lt: The number must lie below this one.
    """

    ge: float | None = None
    le: float | None = None
    gt: float | None = None
    lt: float | None = None

    def __iter__(self) -> Iterator[annotated_types.BaseMetadata]:
        """The limits one by one, as pydantic reads them."""
        if self.ge is not None:
            yield annotated_types.Ge(self.ge)
        if self.le is not None:
            yield annotated_types.Le(self.le)
        if self.gt is not None:
            yield annotated_types.Gt(self.gt)
        if self.lt is not None:
            yield annotated_types.Lt(self.lt)

    def __str__(self) -> str:
        """The limits in words: `from 0 to 1`, `of at least 1`, `above 0`."""
        if self.ge is not None and self.le is not None:
            return f"from {self.ge} to {self.le}"
        words = {"of at least": self.ge, "above": self.gt, "of at most": self.le, "below": self.lt}
        return " and ".join(f"{word} {limit}" for word, limit in words.items() if limit is not None)


@dataclass(frozen=True)
class Component:
    """A class to build and the arguments to build it with.

    In YAML it is a name (`model: resnet18`) or a mapping (`model: {class: my_pkg.MyNet, hidden: 64}`).

    Args:
        target: A short name, an import path (`my_pkg.MyNet`) or a file and a class (`my_models.py:MyNet`).
        arguments: Arguments by name, of values that YAML has; an argument may be a component itself.
    """

    target: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.target, str) or not self.target:
            raise ValueError(f"a component needs the name of a class, got {self.target!r}")
        object.__setattr__(self, "arguments", plain(self.arguments))

    @classmethod
    def parse(cls, value: Any) -> Component:
        """The component that a name, a mapping with `class`, or a component stands for; ValueError otherwise."""
        if isinstance(value, Component):
            return value
        if isinstance(value, str):
            return cls(value)
        if isinstance(value, Mapping) and CLASS in value:
            return cls(value[CLASS], {name: item for name, item in value.items() if name != CLASS})
        raise ValueError(
            "a component is a name such as `resnet18` or a mapping such as `{class: my_pkg.MyNet, width: 64}`"
        )

    def to_value(self) -> Any:
        """The shortest form for YAML: the name alone, or a mapping when there are arguments."""
        return {CLASS: self.target, **self.arguments} if self.arguments else self.target

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic read a component from any of its forms and write the shortest one."""
        from pydantic_core import core_schema

        write = core_schema.plain_serializer_function_ser_schema(cls.to_value)
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=write)


def plain(value: Any) -> Any:
    """`value` in the types that YAML has (tuples become lists, paths text); TypeError if it cannot be written."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Component):
        return value.to_value()
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, str | PurePath):
        return str(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {str(key): plain(item) for key, item in value.items()}
    raise TypeError(f"{value!r} cannot be written to a configuration file")


def is_plain(value: Any) -> bool:
    """Whether `value` can be written to a file."""
    try:
        plain(value)
    except TypeError:
        return False
    return True


def in_words(value: Any) -> str:
    """A received value for a message, in YAML's terms and short: `'ten'`, `true`, `null`, `[1, 2]`."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        text = f"the text {value!r}"
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{key}: {_item(item)}" for key, item in value.items()) + "}"
    elif isinstance(value, list | tuple):
        text = "[" + ", ".join(_item(item) for item in value) + "]"
    else:
        text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _item(value: Any) -> str:
    return repr(value) if isinstance(value, str) else in_words(value)
