"""The arguments that a class or function takes, `**kwargs` followed to where they are passed on."""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from deepdiva.config.schema import REQUIRED, evaluated


@dataclass(frozen=True)
class Parameter:
    """One argument: its name, type (`Any` when unknown) and default (`REQUIRED` when it has none)."""

    name: str
    annotation: Any = Any
    default: Any = REQUIRED


@dataclass(frozen=True)
class Signature:
    """All arguments that can be given by name, and whether there may be more that cannot be seen."""

    parameters: Mapping[str, Parameter]
    is_open: bool = False


def signature(target: Any, *, positional: int = 0) -> Signature:
    """The arguments of a class or function by name.

    Args:
        target: The class or function.
        positional: How many leading arguments the caller passes itself.
    """
    if not inspect.isclass(target):
        return _of_function(inspect.unwrap(target), (), positional, depth=0)
    constructors = _constructors(target)
    if not constructors or not inspect.isfunction(constructors[0]):
        return _of_builtin(target, positional)
    return _of_function(constructors[0], tuple(constructors[1:]), positional + 1, depth=0)


def _constructors(cls: type) -> list[Any]:
    """The constructors of a class and its bases, in the order in which `super()` finds them, but for `object`'s."""
    return [inspect.unwrap(vars(base)["__init__"]) for base in cls.__mro__[:-1] if "__init__" in vars(base)]


def _of_builtin(target: Any, positional: int) -> Signature:
    """What `inspect` knows of a class without a constructor in Python."""
    try:
        items = list(inspect.signature(target).parameters.values())[positional:]
    except (ValueError, TypeError):
        return Signature({}, is_open=True)
    return Signature({item.name: _parameter(item, {}) for item in items if item.kind in _NAMED})


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_DEEPEST = 8


def _of_function(function: Any, above: tuple[Any, ...], positional: int, *, depth: int) -> Signature:
    """A function's arguments; `above` are the constructors that `super().__init__` would call."""
    try:
        items = list(inspect.signature(function, follow_wrapped=False).parameters.values())
    except (ValueError, TypeError):
        return Signature({}, is_open=True)
    names = _names(function)
    parameters = {item.name: _parameter(item, names) for item in items[positional:] if item.kind in _NAMED}
    extra = next((item.name for item in items if item.kind is inspect.Parameter.VAR_KEYWORD), None)
    if extra is None or depth == _DEEPEST:
        return Signature(parameters, is_open=extra is not None)
    further = _passed_on(function, extra, above, names, depth)
    own = {item.name for item in items}
    return Signature(
        parameters | {name: item for name, item in further.parameters.items() if name not in own}, further.is_open
    )


def _parameter(item: inspect.Parameter, names: Mapping[str, Any]) -> Parameter:
    default = REQUIRED if item.default is inspect.Parameter.empty else item.default
    return Parameter(item.name, evaluated(item.annotation, names), default)


def _names(function: Any) -> dict[str, Any]:
    """The names that a function's annotations and body see: builtins, its module's, and those of its closure."""
    closure = inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else {}
    module = vars(sys.modules[function.__module__]) if getattr(function, "__module__", None) in sys.modules else {}
    return {**vars(builtins), **module, **getattr(function, "__globals__", {}), **closure}


def _passed_on(function: Any, extra: str, above: tuple[Any, ...], names: Mapping[str, Any], depth: int) -> Signature:
    """What becomes of `**extra` in the body: the arguments of every call that gets it, and keys read from it."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return Signature({}, is_open=True)
    found = {name: Parameter(name, Any, None) for name in _keys_read(tree, extra)}
    is_open = False
    for call in _calls_with(tree, extra):
        if _is_super_init(call.func) and not above:
            continue  # that is `object.__init__`, which takes nothing
        target = _callee(call.func, above, names)
        if target is None:
            is_open = True
            continue
        callee, still_above, skip = target
        further = _of_function(callee, still_above, skip + _count(call), depth=depth + 1)
        given = {keyword.arg for keyword in call.keywords}
        found |= {name: item for name, item in further.parameters.items() if name not in given}
        is_open = is_open or further.is_open
    return Signature(found, is_open)


def _calls_with(tree: ast.AST, extra: str) -> list[ast.Call]:
    """Calls that are given `**extra`."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if any(word.arg is None and _is_name(word.value, extra) for word in call.keywords)]


def _keys_read(tree: ast.AST, extra: str) -> list[str]:
    """Keys that the body takes out of `extra` by `.pop("x")`, `.get("x")` or `["x"]`."""
    found = []
    for node in ast.walk(tree):
        key: ast.expr | None = None
        if isinstance(node, ast.Subscript) and _is_name(node.value, extra):
            key = node.slice
        elif _is_method(node, extra, "pop", "get", "setdefault"):
            key = node.args[0] if node.args else None
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            found.append(key.value)
    return found


def _is_method(node: ast.AST, owner: str, *methods: str) -> TypeGuard[ast.Call]:
    """Whether a node is a call such as `owner.pop(…)`."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    return node.func.attr in methods and _is_name(node.func.value, owner)


def _is_super_init(function: ast.expr) -> bool:
    """Whether a call's function is `super().__init__`."""
    if not (isinstance(function, ast.Attribute) and function.attr == "__init__"):
        return False
    return isinstance(function.value, ast.Call) and _is_name(function.value.func, "super")


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _count(call: ast.Call) -> int:
    return len([item for item in call.args if not isinstance(item, ast.Starred)])


def _callee(
    function: ast.expr, above: tuple[Any, ...], names: Mapping[str, Any]
) -> tuple[Any, tuple[Any, ...], int] | None:
    """What a call calls, the constructors above it, and how many arguments are bound; None when it cannot be told."""
    if _is_super_init(function):
        return (above[0], above[1:], 1) if above else None
    target = _value(function, names)
    if inspect.isclass(target):
        constructors = _constructors(target)
        return (constructors[0], tuple(constructors[1:]), 1) if constructors else None
    target = inspect.unwrap(target) if callable(target) else None
    return (target, (), 0) if inspect.isfunction(target) else None


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """The value of a plain or dotted name; None when it is not known before the call."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, names), node.attr, None)
    return None
