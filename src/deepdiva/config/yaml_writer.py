"""Writes plain values as YAML that the strict reader reads back to the same values and the same bytes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from deepdiva.config.yaml_reader import read_scalar

# Words that stay text in YAML 1.2 and that older readers too take for text: letters first, nothing with a meaning.
_SAFE_WORD = re.compile(r"[A-Za-z_/.](?:[A-Za-z0-9_/.+\-]|:(?=[A-Za-z_]))*\Z")
_OLD_WORDS = frozenset({"yes", "no", "on", "off", "y", "n"})
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def write(values: Mapping[str, Any]) -> str:
    """A YAML text of the mapping: blocks for mappings, one line for lists of single values."""
    return "".join(f"{line}\n" for line in _mapping_lines(values)) if values else "{}\n"


def write_scalar(value: Any) -> str:
    """One value without structure, as short as it can be read back."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        return _number(value)
    return str(value)


def write_flow(value: Any) -> str:
    """One value on one line, `[1, 2]` and `{a: 1}` included."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(key)}: {write_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(write_flow(item) for item in value) + "]"
    return write_scalar(value)


def _mapping_lines(values: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for key, value in values.items():
        lines += _entry_lines(f"{_text(key)}:", value)
    return lines


def _entry_lines(head: str, value: Any) -> list[str]:
    """The lines of `key: value` or `- value`, where `head` is `key:` or `-`."""
    if isinstance(value, Mapping) and value:
        lines = _mapping_lines(value)
        if head == "-":
            return [f"- {lines[0]}", *(f"  {line}" for line in lines[1:])]
        return [head, *(f"  {line}" for line in lines)]
    if isinstance(value, list) and _holds_mapping(value):
        lines = [line for item in value for line in _entry_lines("-", item)]
        return [head, *(f"  {line}" for line in lines)]
    return [f"{head} {write_flow(value)}"]


def _holds_mapping(value: Any) -> bool:
    if isinstance(value, list):
        return any(_holds_mapping(item) for item in value)
    return isinstance(value, Mapping) and bool(value)


def _number(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    return repr(value)


def _text(value: str) -> str:
    if _SAFE_WORD.match(value) and value.lower() not in _OLD_WORDS and isinstance(read_scalar(value), str):
        return value
    return '"' + "".join(_character(character) for character in value) + '"'


def _character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    if character.isprintable() and code != 0xFEFF:
        return character
    if code <= 0xFF:
        return f"\\x{code:02X}"
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"
