"""Reading of pickles that hold plain data and arrays of numpy, without ever calling what they name."""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from deepdiva.errors import UserError

KINDS = frozenset({"u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"})
"""Types of numbers that may be in an array."""

_DAMAGED = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


class _Refused(Exception):
    """A pickle asked for something that plain data do not need."""


def load(content: bytes, where: str) -> Any:
    """What the pickle `content` holds: numbers, strings, bytes, lists, tuples, dictionaries and arrays.

    A pickle is a program: an ordinary reader calls any function that it names. Here the few names that arrays need
    lead to stand-ins, which check what they are given and build the array themselves; every other name is refused.
    Strings that Python 2 wrote come as bytes.

    Raises:
        UserError: The pickle is damaged or asks for anything else; the message calls it `where`.
    """
    try:
        return _filled(_Reader(io.BytesIO(content), encoding="bytes").load(), {})
    except _Refused as error:
        raise UserError(f"{where} {error}", "do not use this file: it may be malicious") from error
    except _DAMAGED as error:
        raise UserError(f"{where} is damaged, or no pickle: {error}") from error


class _Number:
    """Stands in for numpy.dtype."""

    def __init__(self, code: object, *rest: object) -> None:
        name = code.decode("ascii", "replace") if isinstance(code, bytes) else code
        if name not in KINDS:
            raise _Refused(f"has an array of {name!r}")
        self.type = np.dtype(str(name))

    def __setstate__(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order in (b"<", "<"):
            self.type = self.type.newbyteorder("<")
        elif order in (b">", ">"):
            self.type = self.type.newbyteorder(">")
        elif order not in (b"|", "|"):
            raise _Refused(f"has an array with the byte order {order!r}")


class _Array:
    """Stands in for numpy.ndarray: empty at first, filled by its state."""

    array: np.ndarray[Any, Any] | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _Refused("has an array in an unknown form")
        _, shape, number, by_columns, raw = state
        if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape):
            raise _Refused(f"has an array of the shape {shape!r}")
        if not isinstance(number, _Number) or not isinstance(raw, bytes):
            raise _Refused("has an array that does not hold numbers")
        if len(raw) != math.prod(shape) * number.type.itemsize:
            raise _Refused(f"has an array of the shape {shape} in {len(raw):,} bytes")
        order: Any = "F" if by_columns else "C"
        self.array = np.frombuffer(raw, number.type).reshape(shape, order=order)


class _Reader(pickle.Unpickler):
    """Knows what arrays need, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name."""
        if (module, name) == ("numpy", "dtype"):
            return _callable(_Number)
        if (module, name) == ("numpy", "ndarray"):
            return "numpy.ndarray"
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _callable(lambda *arguments: _Array())
        raise _Refused(f"asks for {module}.{name}")

    def persistent_load(self, pid: object) -> Any:
        """Nothing: arrays in files have no need of it."""
        raise _Refused("asks for an object from elsewhere")


def _callable(build: Callable[..., object]) -> Callable[..., object]:
    """A function of its own for each reading, so that no pickle can leave anything behind for the next."""

    def stand_in(*arguments: object) -> object:
        return build(*arguments)

    return stand_in


def _filled(value: Any, done: dict[int, Any]) -> Any:
    """The value with arrays in the place of stand-ins, wherever they are in dictionaries, lists and tuples.

    What occurs more than once is filled once: lists of lists of lists would otherwise grow without limit.
    """
    if id(value) not in done:
        done[id(value)] = _fill(value, done)
    return done[id(value)]


def _fill(value: Any, done: dict[int, Any]) -> Any:
    if isinstance(value, _Array):
        if value.array is None:
            raise _Refused("has an array without content")
        return value.array
    if isinstance(value, dict):
        return {key: _filled(item, done) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_filled(item, done) for item in value])
    if isinstance(value, bytes | str | int | float | None):
        return value
    raise _Refused("holds more than plain data")
