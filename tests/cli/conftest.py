"""Run folders for the tests of the commands that read them, and a way to call one command in process."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deepdiva.runs.record import encode_record, new_record

Store = Callable[..., Path]
Call = Callable[..., int]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Writes a run folder below `runs` in a fresh current directory: `store("points", "a1b2c3", seed=4)`."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def write(experiment: str, ending: str, *, day: int = 1, **facts: Any) -> Path:
        path = Path("runs", experiment, f"202611{day:02d}T120000Z-{ending}")
        path.mkdir(parents=True)
        given: dict[str, Any] = {
            "kind": "run",
            "parent": None,
            "task": experiment,
            "data": None,
            "seed": 1,
            "determinism": {},
        }
        record = new_record(path, command=["deepdiva", "run", experiment], **given)
        record |= {"status": "completed", "duration": 12.5, "created": f"2026-11-{day:02d}T12:00:00+00:00"}
        (path / "run.json").write_bytes(encode_record(record | facts))
        return path

    return write


@pytest.fixture
def call() -> Call:
    """Calls one command through argparse: `call(runs, "runs", "ls")` gives the exit code."""

    def run(module: ModuleType, *words: object) -> int:
        parser = argparse.ArgumentParser(prog="deepdiva", allow_abbrev=False)
        module.add_parser(parser.add_subparsers(required=True))
        arguments = parser.parse_args([str(word) for word in words])
        code: int = arguments.func(arguments)
        return code

    return run


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes standard output pass for a terminal of some width."""

    def pretend(columns: int) -> None:
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    return pretend


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Callable[[], Any]:
    """What was printed on standard output, read as JSON."""
    return lambda: json.loads(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Child processes keep what they compile, as they do for users: compiling is most of a quick command's time."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
