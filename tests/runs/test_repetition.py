"""`reproduce.sh` repeats a run from its folder alone: a task by its config.yaml, a loop of one's own by its command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deepdiva.runs.folder import RunFolder, find_runs
from deepdiva.runs.repetition import NAME, reproduction_script
from deepdiva.runs.run import Run

RECORD = {
    "id": "some-run",
    "command": ["python", "my loop.py"],
    "versions": {"deepdiva": "1", "torch": None, "python": "3"},
}


@pytest.fixture
def folder(project: Path) -> Path:
    path = project / "runs" / "x" / "some-run"
    (path / "code").mkdir(parents=True)
    (path / "code" / "code.json").write_text('{"directory": "."}')
    return path


def test_a_task_is_repeated_by_its_config(folder: Path):
    text = reproduction_script(folder, RECORD, {"task": "points", "data": "moons"})
    assert text.endswith('exec deepdiva run --config "$run/config.yaml" --runs-dir "$runs" --allow-dirty "$@"\n')
    assert "ln -s" not in text
    assert "DeepDIVA 1, torch ? and Python 3" in text


def test_a_loop_of_ones_own_is_repeated_by_its_command(folder: Path):
    assert reproduction_script(folder, RECORD, {}).endswith("exec python 'my loop.py' \"$@\"\n")


def test_data_that_lie_beside_the_code_are_linked(folder: Path, project: Path):
    (project / "my data" / "sub").mkdir(parents=True)
    settings = {"task": {"class": "points", "lists": ["README.md"]}, "data": "my data/sub", "runs_dir": "runs"}
    text = reproduction_script(folder, RECORD, settings)
    links = [line for line in text.splitlines() if "ln -s" in line]
    assert links == [
        '[ -e README.md ] || { mkdir -p . && ln -s "$run"/../../../README.md README.md; }',
        "[ -e 'my data/sub' ] || { mkdir -p 'my data' && ln -s \"$run\"/'../../../my data/sub' 'my data/sub'; }",
    ]


def test_the_script_of_a_loop_runs_even_after_the_project_has_moved(project: Path, tmp_path: Path):
    loop = "from deepdiva import Run\nwith Run.create('again') as run:\n    run.log(1, {'value': 2.0})\n"
    (project / "loop.py").write_text(loop)
    subprocess.run(["git", "add", "."], cwd=project, check=True)
    subprocess.run(["git", "commit", "--quiet", "-m", "Loop"], cwd=project, check=True)
    with Run.create("loop", command=[sys.executable, "loop.py"]) as run:
        run.log(1, {"value": 2.0})
    shutil.rmtree(project / ".git")
    (project / "loop.py").unlink()
    moved = project.rename(tmp_path / "moved")
    script = moved / run.path.relative_to(project) / NAME
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(["sh", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    work = Path(done.stderr.partition("the code of this run is in ")[2].splitlines()[0])
    [again] = find_runs(work / "runs")
    assert again.digests["metrics"] == RunFolder.open(script.parent).digests["metrics"]
