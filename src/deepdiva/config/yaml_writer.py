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
    return "".join(f"{line}\n" for _, line in write_lines(values)) if values else "{}\n"


def write_lines(values: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """The lines of the text, each with the dotted path of the value that begins there (empty for none)."""
    lines: list[tuple[str, str]] = []
    for key, value in values.items():
        lines += _entry(f"{_text(key)}:", value, f"{above}.{key}" if above else key)
    return lines


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


def _entry(head: str, value: Any, path: str) -> list[tuple[str, str]]:
    """The lines of `key: value` or `- value`, where `head` is `key:` or `-`."""
    if isinstance(value, Mapping) and value:
        lines = write_lines(value, path)
        if head == "-":
            return [(path, f"- {lines[0][1]}"), *_indented(lines[1:])]
        return [("", head), *_indented(lines)]
    if isinstance(value, list) and _holds_mapping(value):
        items = [line for index, item in enumerate(value) for line in _entry("-", item, f"{path}.{index}")]
        return [(path, head), *_indented(items)]
    return [(path, f"{head} {write_flow(value)}")]


def _indented(lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(path, f"  {line}") for path, line in lines]


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
