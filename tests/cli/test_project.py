"""`deepdiva new` writes a task that runs as it is; `deepdiva check` tries a task point by point."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Answer

from deepdiva import tasks

Cli = Callable[..., Answer]


@pytest.mark.parametrize("source", tasks.NAMES)
def test_a_new_task_is_python_with_the_new_names(cli: Cli, project: Path, source: str):
    answer = cli("new", "My-own task", "--from", source)
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[:2] == ["wrote my_own_task.py", "wrote test_my_own_task.py"]
    text = (project / "my_own_task.py").read_text()
    names = [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    assert "MyOwnTask" in names
    assert tasks.NAMES[source].partition(":")[2] not in text
    assert "deepdiva run my_own_task.py:MyOwnTask" in text
    assert f"deepdiva run {source}" not in text
    ast.parse((project / "test_my_own_task.py").read_text())


def test_files_go_where_they_are_wanted(cli: Cli, project: Path):
    answer = cli("new", "mine", "--into", "src/tasks")
    assert "deepdiva run src/tasks/mine.py:Mine" in answer.out
    assert (project / "src" / "tasks" / "test_mine.py").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["2nd"], "'2nd' cannot name a Python file"),
        (["!"], "'!' cannot name a Python file"),
        (["class"], "'class' cannot name a Python file"),
        (["json"], "json is the name of an installed module"),
        (["mine", "--from", "point"], "there is no such task\n  hint: did you mean 'points'?"),
    ],
)
def test_names_that_cannot_be_are_refused(cli: Cli, project: Path, words: list[str], message: str):
    answer = cli("new", *words)
    assert answer.code == 2
    assert message in answer.err
    assert not list(project.glob("*.py"))


def test_nothing_is_overwritten(cli: Cli, project: Path):
    (project / "test_mine.py").write_text("mine\n")
    answer = cli("new", "mine")
    assert answer.code == 2
    assert "test_mine.py exists already\n  hint: choose another name; nothing was written" in answer.err
    assert not (project / "mine.py").exists()
    cli("new", "yours")
    assert "yours.py and test_yours.py exist already" in cli("new", "yours").err


def test_check_tells_every_point(cli: Cli, project: Path):
    answer = cli("check", "points", "--n", 60)
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert all(line.startswith("ok    ") for line in lines[:-2])
    assert lines[-1] == f"{len(lines) - 2} of {len(lines) - 2} points hold"
    points = json.loads(cli("check", "points", "--n", 60, "--json").out)
    assert [point["name"] for point in points] == [line[6:].split("  ")[0] for line in lines[:-2]]


def test_check_takes_settings_from_files(cli: Cli, project: Path):
    (project / "points.yaml").write_text("task:\n  class: points\n  n: 60\nepochs: many\n")
    assert "points.yaml:4: 'epochs': expected" in cli("check", "--config", "points.yaml").err
    (project / "points.yaml").write_text("task:\n  class: points\n  n: 60\n")
    assert "train 36, val 12, test 12" in cli("check", "--config", "points.yaml").out


def test_check_has_help_and_names_mistakes(cli: Cli, project: Path):
    assert cli("check", "--help").out.startswith("usage: deepdiva check TASK")
    assert cli("check", "points", "-h").out == cli("check", "--help").out
    answer = cli("check", "points", "--jsno", "--epochz", 3)
    assert answer.code == 2
    assert "did you mean `--json`?" in answer.err
    assert "did you mean `--epochs`?" in answer.err
    assert "no task is named" in cli("check").err
