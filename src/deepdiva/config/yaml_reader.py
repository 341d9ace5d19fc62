"""Reads YAML 1.2 strictly: plain values, the line of every key, and all mistakes at once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from deepdiva.errors import Problem, UserError, UserErrors

_TAG = "tag:yaml.org,2002:"
_SCALARS = {
    "null": re.compile(r"(?:null|Null|NULL|~|)\Z"),
    "bool": re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"),
    "int": re.compile(r"(?:[-+]?[0-9]{1,4000}|0o[0-7]{1,4000}|0x[0-9a-fA-F]{1,4000})\Z"),
    "float": re.compile(
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
}


LARGEST = 1 << 20
"""Bytes of a file at most; the parser takes seconds for each MiB."""
_DEEPEST = 50
_MOST_VALUES = 100_000
_MOST_TEXT = 4 << 20
"""Limits that only a text made to exhaust the memory reaches: aliases (`*name`) stand for a value again and again."""


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with the scalars of YAML 1.2's core schema in place of those of YAML 1.1."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's own attribute, replaced and not shared)


for _name, _pattern in _SCALARS.items():
    _Loader.add_implicit_resolver(_TAG + _name, _pattern, None)


@dataclass
class Document:
    """What a YAML text holds.

    Args:
        values: The root mapping.
        lines: The line of every key and list item by its dotted path (`optimizer.lr`, `augment.0.class`).
        problems: All mistakes found, each with its place.
    """

    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: str) -> int:
        """The line of `path`, or of the nearest key above it."""
        while path and path not in self.lines:
            path = path.rpartition(".")[0]
        return self.lines.get(path, 1)


def read_text(text: str, name: str) -> Document:
    """The root mapping of a YAML text; `name` stands before the line numbers in messages."""
    document = Document()
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        document.problems.append(_syntax_problem(error, text, name))
        return document
    except RecursionError:
        document.problems.append(Problem("this is not valid YAML: it is nested too deeply", f"{name}:1"))
        return document
    if root is None or root.tag == f"{_TAG}null":
        return document
    if not isinstance(root, MappingNode):
        where = f"{name}:{root.start_mark.line + 1}"
        document.problems.append(Problem(f"expected settings such as `epochs: 10`, got {_kind(root)}", where))
        return document
    document.values = _Construction(document, name).mapping(root, "")
    return document


def read_path(path: Path) -> Document:
    """The root mapping of a YAML file; UserError when it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}", "check the path given to --config") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    return read_bytes(content, str(path))


def read_bytes(content: bytes, name: str) -> Document:
    """As `read_text`, for the content of the file `name`; UserError when it is no text, or too long."""
    if len(content) > LARGEST:
        raise UserError(f"{name} has more than {LARGEST:,} bytes", "settings are a page or two: is this the file?")
    try:
        return read_text(content.decode("utf-8-sig"), name)
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from error


def read_flow(text: str) -> Any:
    """One value as it stands on the command line: a scalar, or `[…]`, `{…}` or quoted text in YAML's flow style."""
    if text[:1] not in ("[", "{", '"', "'"):
        return read_scalar(text)
    document = read_text(f"value: {text}", "value")
    if document.problems:
        raise UserErrors(document.problems)
    if document.values.keys() != {"value"}:
        raise UserError("the text goes on after the value")
    return document.values["value"]


def read_scalar(text: str) -> Any:
    """The number, truth value, null or text that an unquoted word is in YAML 1.2."""
    for name, pattern in _SCALARS.items():
        if pattern.match(text):
            return _convert(name, text)
    return text


def _convert(name: str, text: str) -> Any:
    if name == "null":
        return None
    if name == "bool":
        return text.lower() == "true"
    if name == "int":
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _kind(node: Node) -> str:
    if isinstance(node, MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, SequenceNode) else f"the single value {node.value!r}"


class _Construction:
    """Builds values from PyYAML's nodes, noting lines and mistakes on the way."""

    def __init__(self, document: Document, name: str) -> None:
        self.document = document
        self.name = name
        self.open: list[Node] = []
        self.values = 0
        self.text = 0
        self.is_deep = False

    def value(self, node: Node, path: str) -> Any:
        """The value of a node, whatever its kind."""
        if node in self.open:
            self.problem(node, "an alias (`*name`) stands for the very value that holds it")
            return None
        if self.is_too_much(node):
            return None
        self.open.append(node)
        try:
            if isinstance(node, MappingNode):
                return self.mapping(node, path)
            if isinstance(node, SequenceNode):
                return self.sequence(node, path)
            return self.scalar(node) if isinstance(node, ScalarNode) else None
        finally:
            self.open.pop()

    def is_too_much(self, node: Node) -> bool:
        """Whether a limit is reached with this value; that is noted once."""
        before = self.values > _MOST_VALUES or self.text > _MOST_TEXT
        self.values += 1
        self.text += len(node.value) if isinstance(node, ScalarNode) else 0
        if len(self.open) >= _DEEPEST:
            if not self.is_deep:
                self.problem(node, f"this is nested too deeply: {_DEEPEST} levels are the most")
            self.is_deep = True
            return True
        if not before and (self.values > _MOST_VALUES or self.text > _MOST_TEXT):
            self.problem(node, "aliases (`*name`) make this longer than any settings are", "write the values out")
        return self.values > _MOST_VALUES or self.text > _MOST_TEXT

    def mapping(self, node: MappingNode, path: str) -> dict[str, Any]:
        """The mapping of a node; a key that is repeated or is no text is a mistake."""
        self.check_tag(node, "map")
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.scalar(key_node) if isinstance(key_node, ScalarNode) else None
            if not isinstance(key, str):
                shown = key_node.value if isinstance(key_node, ScalarNode) else _kind(key_node)
                self.problem(key_node, f"a key must be text, got {shown}", "put it in quotation marks")
                continue
            here = f"{path}.{key}" if path else key
            line = key_node.start_mark.line + 1
            if key in result:
                first = self.document.lines[here]
                self.problem(key_node, f"'{here}' is given twice (first in line {first})", "remove one of the two")
                continue
            self.document.lines[here] = line
            result[key] = self.value(value_node, here)
        return result

    def sequence(self, node: SequenceNode, path: str) -> list[Any]:
        """The list of a node."""
        self.check_tag(node, "seq")
        for index, item in enumerate(node.value):
            self.document.lines[f"{path}.{index}"] = item.start_mark.line + 1
        return [self.value(item, f"{path}.{index}") for index, item in enumerate(node.value)]

    def scalar(self, node: ScalarNode) -> Any:
        """The number, truth value, null or text of a node."""
        name = str(node.tag).removeprefix(_TAG)
        if name == "str":
            return str(node.value)
        if name in _SCALARS and _SCALARS[name].match(node.value):
            return _convert(name, node.value)
        if name == "float" and _SCALARS["int"].match(node.value):
            return float(node.value)
        if name in _SCALARS:
            self.problem(node, f"{node.value!r} is not what its tag `!!{name}` says")
        else:
            self.check_tag(node)
        return None

    def check_tag(self, node: Node, *allowed: str) -> None:
        """Note a tag that is not one of YAML's plain types (`!!python/object`, `!custom`)."""
        if str(node.tag) not in {_TAG + name for name in allowed}:
            shown = str(node.tag).replace(_TAG, "!!")
            self.problem(node, f"the tag `{shown}` is not allowed here", "remove the tag: only plain values are read")

    def problem(self, node: Node, message: str, hint: str | None = None) -> None:
        """Note a mistake at the line of a node."""
        self.document.problems.append(Problem(message, f"{self.name}:{node.start_mark.line + 1}", hint))


def _syntax_problem(error: yaml.YAMLError, text: str, name: str) -> Problem:
    """PyYAML's complaint with its line, and a hint for the usual slips."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        lines = text.splitlines()
        around = "\n".join(lines[max(0, mark.line - 1) : mark.line + 1])
        hint = "indent with spaces, not tabs" if "\t" in around else None
        detail = " ".join(part for part in (error.problem, error.context) if part)
        return Problem(f"this is not valid YAML: {detail} (column {mark.column + 1})", f"{name}:{mark.line + 1}", hint)
    position = getattr(error, "position", 0)
    line = text.count("\n", 0, position) + 1
    return Problem(f"this is not valid YAML: {getattr(error, 'reason', error)}", f"{name}:{line}")
