from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepdiva.errors import UserError
from deepdiva.experiments.checkout import checkout, original_directory, provenance
from deepdiva.runs import closure
from deepdiva.runs.folder import RunFolder
from deepdiva.runs.run import Run

Record = Callable[..., RunFolder]


@pytest.fixture
def record(project: Path) -> Record:
    """A run that recorded the project as it stands, and did nothing: `record(data="png")`."""

    def call(**settings: Any) -> RunFolder:
        config = {"task": {"class": "net.py:Net"}, **settings}
        with Run.create("story", config=config, allow_dirty=True, tensorboard=False) as run:
            pass
        return RunFolder.open(run.path)

    (project / "net.py").write_text("VALUE = 1\n")
    return call


def unproven(run: RunFolder) -> RunFolder:
    """The run without the list of its files, so that one of them can be altered unseen."""
    (run.path / "manifest.json").unlink(missing_ok=True)
    return run


def test_the_code_is_what_it_was_after_the_working_tree_moved_on(record: Record, project: Path):
    run = record()
    (project / "net.py").write_text("VALUE = 2\n")
    (project / "README.md").unlink()
    with checkout(run) as code:
        assert (code.root, code.directory) == (code.root, code.root)
        assert (code.root / "net.py").read_text() == "VALUE = 1\n"
        assert (code.root / "README.md").read_text() == "A project.\n"
        assert code.root.name == project.name
    assert not code.root.exists()


def test_nothing_stays_when_the_work_inside_is_interrupted(record: Record):
    with pytest.raises(KeyboardInterrupt), checkout(record()) as code:
        raise KeyboardInterrupt
    assert not code.root.exists()


def test_the_directory_that_the_run_was_started_in_is_kept(record: Record, project: Path, monkeypatch):
    (project / "below").mkdir()
    (project / "below" / "a.yaml").write_text("x: 1\n")
    (project / "data.csv").write_text("1\n")
    (project / ".gitignore").write_text("runs/\n*.csv\n")
    monkeypatch.chdir(project / "below")
    run = record(data="../data.csv")
    assert original_directory(run) == project / "below"
    with checkout(run) as code:
        assert code.directory == code.root / "below"
        assert (code.directory / "../data.csv").read_text() == "1\n"
        assert code.linked == {"../data.csv": project / "below" / "../data.csv"}


@pytest.mark.parametrize("name", ["png", "../png", "../../png", "../project/png"])
def test_data_are_found_where_they_were(record: Record, project: Path, name: str):
    (project / ".gitignore").write_text("runs/\npng\n")
    (project / name).mkdir()
    (project / name / "1.txt").write_text("one")
    run = record(data=name)
    with checkout(run) as code:
        assert (code.directory / name / "1.txt").read_text() == "one"


def test_data_at_another_path_take_the_place_of_the_old(record: Record, project: Path, tmp_path: Path):
    (project / ".gitignore").write_text("runs/\npng\n")
    (project / "png").mkdir()
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "1.txt").write_text("one")
    run = record(data="png")
    with checkout(run, data=tmp_path / "moved") as code:
        assert (code.directory / "png" / "1.txt").read_text() == "one"


def test_a_folder_to_keep_stays_and_must_be_new(record: Record, tmp_path: Path):
    run = record()
    with checkout(run, keep=tmp_path / "kept") as code:
        pass
    assert (code.root / "net.py").is_file()
    with pytest.raises(UserError, match="is not empty"), checkout(run, keep=tmp_path / "kept"):
        pass


def test_what_was_left_out_is_named_and_a_big_file_is_found_where_it_was(record: Record, project: Path, monkeypatch):
    monkeypatch.setattr(closure, "MAX_FILE_SIZE", 10)
    (project / ".env").write_text("PASSWORD=1\n")
    (project / "weights.py").write_text("x" * 11)
    (project / "gone.py").write_text("x" * 12)
    run = record()
    (project / "gone.py").write_text("another size")
    (project / "gone.py").write_text("x" * 40)
    with checkout(run) as code:
        assert "weights.py" in code.unproven
        assert (code.root / "weights.py").read_text() == "x" * 11
        assert code.missing[".env"] == "may hold a secret"
        assert code.missing["gone.py"].startswith("over ")


def test_an_editable_package_of_the_project_is_imported_from_the_restored_code(record: Record, project: Path):
    (project / "src").mkdir()
    (project / "src" / "mine.py").write_text("")
    (project / "pyproject.toml").write_text('[project]\nname = "Mine_All"\nversion = "1"\n')
    run = unproven(record())
    lock = run.path / "environment" / "pylock.toml"
    lock.write_text(
        f'{lock.read_text()}\n[[packages]]\nname = "mine-all"\nversion = "1"\n'
        'directory = { path = "/elsewhere", editable = true }\n'
    )
    with checkout(run) as code:
        assert code.python_path == (str(code.root / "src"),)


def test_paths_of_the_project_are_searched_in_the_restored_code(record: Record, project: Path, monkeypatch):
    run = record()
    monkeypatch.setenv("PYTHONPATH", f"lib:{project / 'more'}:/elsewhere")
    with checkout(run) as code:
        assert code.python_path == (str(code.root / "lib"), str(code.root / "more"))


def test_a_file_of_the_copy_that_was_altered_is_refused_and_nothing_is_left(record: Record, tmp_path, monkeypatch):
    run = unproven(record())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = run.path / "code" / "code.json"
    document = json.loads(path.read_text())
    document["files"]["net.py"]["sha256"] = "0" * 64
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"net\.py"), checkout(run):
        pass
    assert not list(tmp_path.glob("deepdiva-*"))


def test_a_directory_outside_of_the_code_is_refused(record: Record):
    run = unproven(record())
    path = run.path / "code" / "code.json"
    path.write_text(path.read_text().replace('"directory": "."', '"directory": "../.."'))
    with pytest.raises(UserError, match="outside"), checkout(run):
        pass


def test_no_link_is_placed_through_a_link_of_the_project(record: Record, project: Path, tmp_path: Path):
    (tmp_path / "precious").mkdir()
    (project / "away").symlink_to(tmp_path / "precious")
    (tmp_path / "precious" / "data").mkdir()
    run = record(data="away/data")
    (tmp_path / "precious" / "data").rmdir()
    with checkout(run, data=tmp_path):
        assert not list((tmp_path / "precious").iterdir())
    (tmp_path / "precious" / "data").symlink_to("elsewhere")
    with checkout(run, data=tmp_path):
        assert (tmp_path / "precious" / "data").is_symlink()


def test_links_of_the_project_lead_where_they_led(record: Record, project: Path, tmp_path: Path):
    for folder in (tmp_path / "big", project.parent / "beside", tmp_path / "moved"):
        folder.mkdir()
        (folder / "1.txt").write_text(folder.name)
    (project / "far").symlink_to(tmp_path / "big")
    (project / "near").symlink_to("../beside")
    run = record(data="far")
    with checkout(run) as code:
        assert (code.root / "far" / "1.txt").read_text() == "big"
        assert (code.root / "near" / "1.txt").read_text() == "beside"
    with checkout(run, data=tmp_path / "moved") as code:
        assert (code.root / "far" / "1.txt").read_text() == "moved"


def test_whose_code_it_is_is_known_without_unpacking_it(record: Record, project: Path):
    subprocess.run(["git", "remote", "add", "origin", "https://me:pass@example.org/x.git"], cwd=project, check=True)
    whose = provenance(record(model={"class": "nets/a.py:A", "inner": [{"class": "b.py:B"}]}))
    assert whose.remote == "https://example.org/x.git"
    assert (whose.branch, whose.dirty, whose.files) == ("main", True, 3)
    assert whose.classes == ("net.py:Net", "nets/a.py:A", "b.py:B")


def test_a_run_without_its_code_is_refused(record: Record):
    run = record()
    (run.path / "code" / "code.json").unlink()
    with pytest.raises(UserError, match="no record of its code"):
        provenance(run)


def test_a_project_that_is_gone_is_nowhere(record: Record, project: Path):
    run = record()
    project.rename(project.with_name("renamed"))
    moved = RunFolder.open(project.with_name("renamed") / run.path.relative_to(project))
    assert original_directory(moved) == project.with_name("renamed")
    elsewhere = RunFolder(moved.path, {**moved.record, "directory": "../../../nowhere"})
    assert original_directory(elsewhere) is None
