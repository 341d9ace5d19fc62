"""A run reproduces after its project moved on, with its environment built again, or says that it was interrupted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.experiments.test_recreation import installed, wheel
from tests.stories.conftest import Cli, Run

from deepdiva.runs.folder import RunFolder, find_runs
from deepdiva.runs.record import amend

NET = """
from shades import Shade
from deepdiva.models.mlp import MLP


class Net(MLP):
    shade = Shade
"""
TASK = '''
from dataclasses import dataclass

from deepdiva.tasks.image_classification import ImageClassification


@dataclass(frozen=True)
class Mine(ImageClassification):
    """Images, with a step of its own."""

    def step(self, model, batch):
        assert model.shade.__name__ == "Shade"
        return super().step(model, batch)
'''
# Runs are small, but every process of a reproduction loads torch.
pytestmark = pytest.mark.slow


@pytest.fixture
def moved_on(run: Run, commit: Callable[..., None], digits: Path, project: Path, tmp_path: Path) -> RunFolder:
    """A run of a task, a model and data of one's own; since then everything has moved on."""
    shutil.copytree(digits, tmp_path / "png")
    commit(**{"mine.py": TASK, "net.py": NET, "shades.py": "class Shade:\n    pass\n"})
    (project / "mine.py").write_text(TASK + "# not committed\n")
    words = ("mine.py:Mine", "--data", "../png", "--model", "net.py:Net", "--epochs", 2, "--allow-dirty")
    original = run(*words, "--augment", "[RandomHorizontalFlip]")
    commit(**{"mine.py": "raise SystemExit('the new code')\n"})
    (project / "net.py").write_text("raise SystemExit('edited')\n")
    (project / "shades.py").unlink()
    shutil.move(tmp_path / "png", tmp_path / "moved")
    return RunFolder.open(original.path.absolute())


@pytest.mark.usefixtures("warm_python")
def test_a_run_reproduces_from_elsewhere_after_everything_moved_on(
    moved_on: RunFolder, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    missing = cli("reproduce", moved_on.path, "--yes")
    assert missing.code == 2
    assert "are not where they were: ../png" in missing.err
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    answer = cli("reproduce", moved_on.path, "--data", "moved", "--yes")
    assert answer.code == 0, answer.err
    assert answer.out.strip().startswith("BIT-IDENTICAL: ")
    assert "proved the data, ../png: 51 files, each by its SHA-256" in answer.err
    assert "  nothing: configuration, code, data" in answer.err
    assert not list(temporary.iterdir())

    new = next(run for run in find_runs(moved_on.path.parents[1]) if run.id != moved_on.id)
    assert new.record["parent"] == moved_on.id
    assert {**new.digests} == {**moved_on.digests}
    assert new.record["pid"] != os.getpid()
    shown = cli("runs", "show", moved_on.path).out
    assert f"reproduced by\n  {new.id}  BIT-IDENTICAL\n" in shown
    assert "verdict\n  BIT-IDENTICAL" in cli("runs", "show", new.path).out


def test_the_environment_is_built_again_for_a_resumed_run_without_git(
    cli: Cli, run: Run, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.rmtree(project / ".git")
    wheel(tmp_path / "wheels", "tiny", "1.0")
    old, new = tmp_path / "old", tmp_path / "new"
    installed(old, "tiny", "1.0")
    installed(new, "tiny", "2.0")
    (project / "mine.py").write_text(
        "import tiny\nfrom dataclasses import dataclass\nfrom deepdiva.tasks.points import Points\n\n\n"
        "@dataclass(frozen=True)\nclass Mine(Points):\n    def step(self, model, batch):\n"
        "        assert tiny.VERSION == '1.0'\n        return super().step(model, batch)\n"
    )
    with monkeypatch.context() as context:
        context.syspath_prepend(str(old))
        original = run("mine.py:Mine", "--n", 60, "--epochs", 1)
        amend(original.path, status="interrupted")
        assert cli("resume", "last").code == 0
    monkeypatch.syspath_prepend(str(new))
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(tmp_path / "wheels"))
    answer = cli("reproduce", "last", "--yes", "--environment", "recreate", "--json")
    assert answer.code == 0, answer.err
    document = json.loads(answer.out)
    assert document["verdict"]["verdict"] == "BIT-IDENTICAL"
    assert "1 are fetched" in answer.err
    packages = [item for item in document["differences"] if item["part"] == "package" and item["what"] != "tiny"]
    assert packages == []
    environment = RunFolder.open(document["path"]).document("environment/environment.json")
    assert environment is not None
    assert environment["packages"]["tiny"]["version"] == "1.0"


def test_an_interrupted_reproduction_is_marked_and_leaves_nothing_else(run: Run, project: Path, tmp_path: Path):
    original = run("points", "--n", 2000, "--batch-size", 2, "--epochs", 1)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "deepdiva.cli.main", "reproduce", str(original.path), "--yes"]
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if line.startswith("  epoch   0/"):
                process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130, said
    [new] = [found for found in find_runs("runs") if found.id != original.id]
    assert new.status == "interrupted"
    assert said.endswith(f"to begin anew: deepdiva reproduce {original.path}\n")
    assert "Traceback" not in said
    assert not list(temporary.iterdir())
