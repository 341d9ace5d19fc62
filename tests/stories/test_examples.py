"""The examples run as their headers say, here at a small size, and stay short."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.stories.conftest import Cli

from deepdiva.runs.folder import RunFolder, find_runs

EXAMPLES = sorted(Path(__file__).parents[2].joinpath("examples").iterdir())
FILES = [path for path in EXAMPLES if path.suffix in (".py", ".yaml")]
LINES = 60


@pytest.fixture
def examples(project: Path, commit: Callable[..., None]) -> Path:
    """The examples, committed in a project of the test's own."""
    (project / "examples").mkdir()
    for path in FILES:
        shutil.copy(path, project / "examples")
    commit()
    return project / "examples"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_example_is_short_and_says_what_to_expect(path: Path):
    text = path.read_text()
    assert len(text.splitlines()) < LINES
    header = text.partition('"""\n\n' if path.suffix == ".py" else "\n\n")[0]
    assert "Command:   " in header
    assert "Result:    " in header
    assert f"examples/{path.name}" in header


def commands() -> list[list[str]]:
    """The words of every `deepdiva` command in a header that needs no data of the user's own."""
    lines = [line.partition("deepdiva run ")[2] for path in FILES for line in path.read_text().splitlines()]
    return [line.replace('"[16, 16]"', "[16,16]").split() for line in lines if line and "path/to" not in line]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_the_commands_in_the_headers_run(cli: Cli, examples: Path, words: list[str]):
    short = ("--epochs", 1, "--threads", 1, "--figures", "none", "--no-tensorboard")
    answer = cli("run", *words, *short)
    assert answer.code == 0, answer.err
    [run] = find_runs("runs")
    assert any(name.startswith("test/") for name in run.results)


@pytest.mark.parametrize(
    ("name", "sizes", "runs"),
    [
        ("image_classification", {"seeds": 2, "epochs": 1}, 2),
        ("points", {"epochs": 1}, 6),
        ("own_loop", {"steps": 50}, 1),
    ],
)
def test_the_scripts_run(
    examples: Path, capsys: pytest.CaptureFixture[str], name: str, sizes: dict[str, Any], runs: int
):
    runpy.run_path(str(examples / f"{name}.py"))["main"](**sizes)
    found = list(find_runs("runs"))
    assert [run.status for run in found] == ["completed"] * runs
    assert all(isinstance(run, RunFolder) and run.results for run in found)
    assert str(found[-1].path.parent.name) in capsys.readouterr().out


def test_every_example_is_run_by_a_command_or_as_a_script():
    words = [word for command in commands() for word in command]
    scripts = [path for path in FILES if '__name__ == "__main__"' in path.read_text()]
    assert not [path.name for path in FILES if path not in scripts and not any(path.name in word for word in words)]
    assert len(scripts) == 3
