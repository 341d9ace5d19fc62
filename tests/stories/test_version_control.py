"""Code that is not committed is refused, with the files and the two ways out; a settings file may lift the rule."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest
from tests.stories.conftest import Cli, Refused, Run

from deepdiva.runs.folder import RunFolder

POINTS = ("points", "--n", 60, "--epochs", 1)


def captured(run: RunFolder) -> tuple[dict[str, object], set[str]]:
    """What a run says of its code, and the files in the copy."""
    with tarfile.open(run.path / "code" / "source.tar.gz") as archive:
        return json.loads((run.path / "code" / "code.json").read_text()), set(archive.getnames())


def test_uncommitted_files_are_listed_with_the_two_ways_out(refused: Refused, project: Path):
    (project / "net.py").write_text("width = 3\n")
    (project / "README.md").write_text("Changed.\n")
    message = refused("run", *POINTS)
    assert "the code is not committed" in message
    assert "    README.md\n" in message
    assert "    net.py\n" in message
    assert "commit the changes, or record a full copy with the run: --allow-dirty" in message


def test_after_a_commit_it_runs(run: Run, commit):
    commit(**{"net.py": "width = 3\n"})
    record, files = captured(run(*POINTS))
    assert record["dirty"] is False
    assert "net.py" in files


def test_allow_dirty_records_all_of_it(run: Run, project: Path):
    (project / "net.py").write_text("width = 3\n")
    (project / "README.md").write_text("Changed.\n")
    record, files = captured(run(*POINTS, "--allow-dirty"))
    assert record["dirty"] is True
    assert {"net.py", "README.md"} <= files


@pytest.mark.parametrize(
    ("name", "text"),
    [("deepdiva.toml", 'code = "snapshot"\n'), ("pyproject.toml", '[tool.deepdiva]\ncode = "snapshot"\n')],
)
def test_one_line_of_the_project_lifts_the_rule(run: Run, project: Path, name: str, text: str):
    (project / name).write_text(text)
    record, files = captured(run(*POINTS))
    assert record["dirty"] is True
    assert name in files


def test_one_line_of_the_user_lifts_it_and_the_project_has_the_last_word(run: Run, refused: Refused, project: Path):
    own = Path(os.environ["XDG_CONFIG_HOME"]) / "deepdiva" / "settings.toml"
    own.parent.mkdir(parents=True)
    own.write_text('code = "snapshot"\n')
    (project / "net.py").write_text("width = 3\n")
    run(*POINTS)
    (project / "deepdiva.toml").write_text('code = "commit"\n')
    assert "the code is not committed" in refused("run", *POINTS)


def test_outside_a_repository_a_copy_is_taken_and_said(
    run: Run, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "loose"
    folder.mkdir()
    (folder / "net.py").write_text("width = 3\n")
    monkeypatch.chdir(folder)
    done = run(*POINTS)
    record, files = captured(done)
    assert record["git"] is None
    assert "net.py" in files
    assert "no repository here: a copy of the 1 source files is kept" in (done.path / "log.txt").read_text()
    assert "a copy of 1 file; no repository" in cli("runs", "show", "last").out


def test_the_runs_themselves_are_never_uncommitted_files(run: Run, commit, project: Path):
    (project / ".gitignore").unlink()
    commit()
    first, second = run(*POINTS), run(*POINTS)
    assert first.digests["code"] == second.digests["code"]
