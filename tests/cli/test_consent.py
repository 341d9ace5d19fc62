from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from deepdiva import RunFolder
from deepdiva.cli import consent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(cli: Any, project: Path) -> RunFolder:
    assert cli("run", "points", "--epochs", "0", "--figures", "none").code == 0
    return RunFolder.open(next(Path("runs").glob("points/*")))


def test_nobody_is_asked_without_a_terminal(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert consent.ask([run], "go on?") is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("typed", "agreed"), [("y", True), ("YES", True), ("", False), ("no", False), (None, False)])
def test_only_a_yes_is_one(run: RunFolder, monkeypatch: pytest.MonkeyPatch, typed: str | None, agreed: bool) -> None:
    shown = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal("" if typed is None else f"{typed}\n"))
    monkeypatch.setattr(sys, "stderr", shown)
    assert consent.ask([run, run], "go on?") is agreed
    assert shown.getvalue().count("the code of run") == 1
    assert shown.getvalue().endswith("go on? [y/N] ")


def test_whose_code_it_is_is_said_in_a_line(run: RunFolder) -> None:
    (line,) = consent.whose_code(run)
    assert run.id in line
    assert "commit " in line
    assert "files" in line
