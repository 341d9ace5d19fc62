"""Guards of the code's shape: every module has a test, modules and functions stay short, docstrings open them."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import deepdiva

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "deepdiva"
TESTS = ROOT / "tests"
MODULES = sorted(SOURCE.rglob("*.py"))
MODULE_LINES = 400
FUNCTION_LINES = 60

# Exceptions, each with its reason. These lists may only shrink: an entry that is no longer needed fails below.
WITHOUT_OWN_TEST: dict[str, str] = {}
LONG_MODULES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}
MOST_EXCEPTIONS = 0


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def test_file(module: Path) -> Path:
    """The test of `runs/folder.py` is `tests/runs/test_folder.py`."""
    return TESTS / module.relative_to(SOURCE).parent / f"test_{module.stem}.py"


test_file.__test__ = False  # type: ignore[attr-defined]


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Name and number of lines of every function, without its decorators and its docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node) is not None:
                lines -= (first.end_lineno or first.lineno) - first.lineno + 1
            yield node.name, lines


def test_there_are_modules():
    assert len(MODULES) > 5


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_every_module_opens_with_its_duty(module: Path):
    assert ast.get_docstring(ast.parse(module.read_text())), f"{name_of(module)} has no docstring"


def test_every_module_has_a_test():
    missing = {name_of(m) for m in MODULES if m.stem != "__init__" and not test_file(m).exists()}
    assert missing == set(WITHOUT_OWN_TEST)


def test_modules_stay_short():
    long = {name_of(m) for m in MODULES if len(m.read_text().splitlines()) > MODULE_LINES}
    assert long == set(LONG_MODULES)


def test_functions_stay_short():
    long = {
        f"{name_of(module)}:{name}"
        for module in MODULES
        for name, lines in functions(ast.parse(module.read_text()))
        if lines > FUNCTION_LINES
    }
    assert long == set(LONG_FUNCTIONS)


def test_exceptions_only_shrink():
    assert len(WITHOUT_OWN_TEST) + len(LONG_MODULES) + len(LONG_FUNCTIONS) <= MOST_EXCEPTIONS


def test_nothing_reaches_up_through_the_front_door():
    # `from deepdiva import train` in a lower room would be a cycle that the import contracts cannot see.
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    height = {room.strip(): -place for place, layer in enumerate(layers) for room in layer.split("|")}
    upward = [
        f"{name_of(module)}: {alias.name}"
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "deepdiva" and module.parent != SOURCE
        for alias in node.names
        if alias.name in deepdiva._HOMES
        and height[deepdiva._HOMES[alias.name].split(".")[1]] > height[module.relative_to(SOURCE).parts[0]]
    ]
    assert upward == []


@pytest.mark.parametrize("word", ["utils", "util", "helpers", "helper", "manager", "common", "misc", "datasets"])
def test_names_say_what_is_inside(word: str):
    assert not [name_of(m) for m in MODULES if word in (m.stem, m.parent.name)]
