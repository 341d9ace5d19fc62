"""`deepdiva run` and `resume`: help, printed configurations, the answer for people and for machines."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Answer

from deepdiva import tasks
from deepdiva.cli import train
from deepdiva.config import from_mapping, options
from deepdiva.engine import determinism
from deepdiva.runs.record import amend, read_record

Cli = Callable[..., Answer]
QUICK = ("--n", 60, "--epochs", 1, "--threads", 1, "--seed", 4, "--figures", "none", "--no-tensorboard")


@pytest.mark.parametrize("name", tasks.NAMES)
def test_help_shows_every_option_of_a_task(cli: Cli, name: str):
    answer = cli("run", name, "--help")
    assert answer.code == 0
    for option in options(tasks.describe(name)):
        assert f"\n  {option.short}" in answer.out
    for option in train.OWN_OPTIONS:
        assert f"\n  {option}" in answer.out
    assert max(map(len, answer.out.splitlines())) <= 120
    assert not re.search(r"[^.]\.\.[^.]|\(default: \)", answer.out)


def test_help_without_a_task_names_the_tasks(cli: Cli):
    answer = cli("run", "--help")
    assert answer.code == 0
    for name in tasks.NAMES:
        assert name in answer.out
    assert cli("run", "-h").out == answer.out


def test_help_loads_no_torch():
    script = "import sys; from deepdiva.cli.main import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script, "run", "points", "--help"], capture_output=True, check=False)
    assert done.returncode == 0


def test_the_answer_stands_on_standard_output_and_the_progress_on_the_other(cli: Cli, project: Path):
    answer = cli("run", "points", *QUICK)
    assert answer.code == 0
    [folder] = (project / "runs" / "points").iterdir()
    path = f"runs/points/{folder.name}"
    lines = answer.out.splitlines()
    assert re.fullmatch(r"  val/accuracy +\d+\.\d\d %   \(best, epoch [01]\)", lines[1])
    assert re.fullmatch(rf"run        {path}   \(seed 4, \d+\.\d s\)", lines[-4])
    assert lines[-3] == f"reproduce  deepdiva reproduce {path}"
    assert lines[-2] == f"resume     deepdiva resume {path}   (had it been cut off)"
    assert lines[-1] == f"look       deepdiva board {path}"
    assert answer.err.startswith(f"run {path}\npoints on moons: 36 / 12 / 12 samples; mlp, ")
    assert "epoch" in answer.err


def test_the_answer_for_machines_is_json_and_nothing_else(cli: Cli, project: Path):
    answer = cli("run", "points", *QUICK, "--json")
    found = json.loads(answer.out)
    assert set(found) == {"id", "path", "results"}
    assert (Path(found["path"]) / "run.json").is_file()
    record = json.loads((Path(found["path"]) / "run.json").read_text())
    assert record["command"] == ["deepdiva", "run", "points", *map(str, QUICK), "--json"]


def test_a_path_with_spaces_is_quoted(cli: Cli, project: Path):
    answer = cli("run", "points", *QUICK, "--runs-dir", "my runs")
    assert "deepdiva resume 'my runs/points/" in answer.out


def test_print_config_prints_and_nothing_else(cli: Cli, project: Path):
    plain = cli("run", "points", *QUICK, "--print-config")
    assert plain.code == 0
    assert plain.err == ""
    assert plain.out.startswith("task:\n  class: points\n")
    explained = cli("run", "points", *QUICK, "--print-config", "--origins")
    assert [line.split("#")[0].rstrip() for line in explained.out.splitlines()] == plain.out.splitlines()
    assert not (project / "runs").exists()


def test_a_short_name_of_a_task_is_written_in_its_usual_spelling(cli: Cli, project: Path):
    assert cli("run", "Image_Classification", "--print-config").out.startswith("task:\n  class: image-classification\n")


@pytest.mark.parametrize(
    ("words", "values", "level"),
    [
        ([], None, "invariant"),
        (["--determinism", "seeded"], None, "seeded"),
        (["--determinism=portable"], "seeded", "portable"),
        ([], "repeatable", "repeatable"),
        (["--determinism", "nonsense"], None, "invariant"),
        (["--determinism"], None, "invariant"),
    ],
)
def test_the_level_is_known_before_torch_is_loaded(words: list[str], values: str | None, level: str):
    layers = [from_mapping({"determinism": values}, "file")] if values else []
    assert train._level(words, layers) == level


def test_the_process_of_a_test_is_never_replaced(monkeypatch: pytest.MonkeyPatch):
    replaced: list[str] = []
    monkeypatch.setattr(determinism, "needs_new_process", lambda level: True)
    monkeypatch.setattr(determinism, "execute_again", replaced.append)
    train._begin_anew_if_needed("invariant")
    assert replaced == []
    for program in ("/usr/bin/deepdiva", "/site/deepdiva/cli/main.py"):
        monkeypatch.setattr(sys, "argv", [program, "run", "points"])
        train._begin_anew_if_needed("portable")
    assert replaced == ["portable", "portable"]


def test_resume_prints_the_same_answer(cli: Cli, project: Path):
    first = cli("run", "points", *QUICK)
    path = next((project / "runs" / "points").iterdir())
    record = read_record(path)
    amend(path, status="interrupted")
    again = cli("resume", "last")
    assert again.code == 0, again.err
    assert again.out.splitlines()[:7] == first.out.splitlines()[:7]
    amend(path, status="interrupted")
    assert json.loads(cli("resume", "last", "--json").out)["results"] == record["results"]
