"""The copy of the code equals the working tree, whatever git thinks of the files."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepdiva.errors import UserError
from deepdiva.runs import capsule, closure

BINARY = bytes(range(256)) * 16
ODD_NAME = os.fsdecode(b"na\xefve \xff.py")


def git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True, errors="replace")
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with one commit."""
    root = tmp_path / "project"
    (root / "package").mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    (root / "train.py").write_text("print('one')\n")
    (root / "package" / "net.py").write_text("width = 3\n")
    (root / "logo.png").write_bytes(BINARY)
    (root / ".gitignore").write_text("*.pyc\nignored/\n")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    return root


def copy(root: Path, tmp_path: Path, name: str = "run") -> tuple[capsule.Capsule, Path]:
    code = tmp_path / "runs" / name / "code"
    return capsule.capture(root, code, exclude=tmp_path / "runs"), code


def tree(root: Path, *, skip: tuple[str, ...] = (".git",)) -> dict[str, object]:
    """Every file and link below `root` with content and executable bit."""
    found: dict[str, object] = {}
    for folder, folders, names in os.walk(root):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        folders[:] = [name for name in folders if name not in skip]
        for name in [*names, *links]:
            path = Path(folder) / name
            facts = path.lstat()
            content: object = (
                path.readlink() if path.is_symlink() else (path.read_bytes(), facts.st_mode & stat.S_IXUSR)
            )
            found[path.relative_to(root).as_posix()] = content
    return found


def record_of(code: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((code / capsule.RECORD).read_text())
    return record


def left_out(code: Path) -> dict[str, str]:
    return {
        str(item["path"]): str(item["reason"]) for item in json.loads((code / capsule.RECORD).read_text())["left_out"]
    }


def make_everything_dirty(root: Path) -> None:
    for name in ("staged", "unstaged", "both", "gone", "gone_staged", "old_name", "kept"):
        (root / f"{name}.py").write_text(f"{name} = 1\n")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "second")
    (root / "staged.py").write_text("staged = 2\n")
    (root / "both.py").write_text("both = 2\n")
    (root / "new_staged.bin").write_bytes(BINARY[::-1])
    git(root, "add", "staged.py", "both.py", "new_staged.bin")
    (root / "both.py").write_text("both = 3\n")
    (root / "unstaged.py").write_text("unstaged = 2\n")
    (root / "gone.py").unlink()
    git(root, "rm", "-q", "gone_staged.py")
    git(root, "rm", "-q", "--cached", "kept.py")
    git(root, "mv", "old_name.py", "new_name.py")
    (root / "untracked.py").write_text("untracked = 1\n")
    (root / "package" / "weights.bin").write_bytes(BINARY)
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "link.py").symlink_to("train.py")
    (root / "link_to_folder").symlink_to("package")
    (root / "dangling").symlink_to("nowhere")
    (root / "with space, ü and 日本.py").write_text("x = 1\n")
    (root / "empty.py").write_bytes(b"")


@pytest.mark.parametrize("prepare", [lambda root: None, make_everything_dirty], ids=["clean", "dirty"])
def test_restored_copy_equals_working_tree(project: Path, tmp_path: Path, prepare: Callable[[Path], None]) -> None:
    prepare(project)
    _, code = copy(project, tmp_path)
    capsule.restore(code, tmp_path / "restored")
    assert tree(tmp_path / "restored") == tree(project)


def test_names_that_are_not_utf8(project: Path, tmp_path: Path) -> None:
    for name in (ODD_NAME, "new\nline.py", "-dash.py", "a" * 200 + ".py"):
        (project / name).write_text("x = 1\n")
    git(project, "add", "-A")
    (project / ODD_NAME).write_text("x = 2\n")
    _, code = copy(project, tmp_path)
    capsule.restore(code, tmp_path / "restored")
    assert tree(tmp_path / "restored") == tree(project)
    assert ODD_NAME in record_of(code)["files"]


def test_every_change_has_its_state(project: Path, tmp_path: Path) -> None:
    make_everything_dirty(project)
    found, code = copy(project, tmp_path)
    record = record_of(code)
    states = {name: entry["state"] for name, entry in record["files"].items()}
    expected = {
        "train.py": "committed",
        "staged.py": "staged",
        "unstaged.py": "unstaged",
        "both.py": "staged+unstaged",
        "untracked.py": "untracked",
        "kept.py": "staged+untracked",
        "new_name.py": "staged",
        "new_staged.bin": "staged",
    }
    assert {name: states[name] for name in expected} == expected
    assert record["deleted"] == ["gone.py", "gone_staged.py", "old_name.py"]
    assert found.dirty
    assert record["dirty"]
    assert capsule.check_clean(project, runs_dir=project / "runs") == sorted(
        {name for name, state in states.items() if state != "committed"} | set(record["deleted"])
    )


def test_patches_rebuild_index_and_working_tree(project: Path, tmp_path: Path) -> None:
    make_everything_dirty(project)
    _, code = copy(project, tmp_path)
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(project), str(other))
    git(other, "apply", "--index", str(code / capsule.STAGED))
    assert git(other, "ls-files", "-s") == git(project, "ls-files", "-s")
    git(other, "apply", str(code / capsule.UNSTAGED))
    assert (other / "both.py").read_text() == "both = 3\n"
    assert not (other / "gone.py").exists()


def test_user_settings_of_git_do_not_change_the_patches(project: Path, tmp_path: Path) -> None:
    make_everything_dirty(project)
    _, code = copy(project, tmp_path)
    for key, value in {
        "diff.noprefix": "true",
        "diff.external": "false",
        "color.ui": "always",
        "status.showUntrackedFiles": "no",
        "status.relativePaths": "false",
        "core.quotePath": "true",
    }.items():
        git(project, "config", key, value)
    _, again = copy(project, tmp_path, "again")
    for name in (capsule.STAGED, capsule.UNSTAGED, capsule.ARCHIVE, capsule.RECORD):
        assert (code / name).read_bytes() == (again / name).read_bytes()


def test_bytes_of_the_archive_are_deterministic(project: Path, tmp_path: Path) -> None:
    make_everything_dirty(project)
    first, code = copy(project, tmp_path)
    for path in project.rglob("*.py"):
        os.utime(path, (1, 1), follow_symlinks=False)
    second, again = copy(project, tmp_path, "again")
    assert first == second
    assert (code / capsule.ARCHIVE).read_bytes() == (again / capsule.ARCHIVE).read_bytes()
    assert (code / capsule.RECORD).read_bytes() == (again / capsule.RECORD).read_bytes()


def test_digest_is_of_the_content_not_of_the_commit(project: Path, tmp_path: Path) -> None:
    before = copy(project, tmp_path, "a")[0]
    (project / "train.py").write_text("print('two')\n")
    dirty = copy(project, tmp_path, "b")[0]
    git(project, "commit", "-q", "-a", "-m", "second")
    committed = copy(project, tmp_path, "c")[0]
    assert before.digest != dirty.digest == committed.digest
    (project / "train.py").chmod(0o755)
    assert copy(project, tmp_path, "d")[0].digest != committed.digest


def test_ignored_files_stay_out_unless_imported(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "ignored").mkdir()
    (project / "ignored" / "used.py").write_text("x = 1\n")
    (project / "ignored" / "unused.py").write_text("x = 1\n")
    module = types.ModuleType("used")
    module.__file__ = str(project / "ignored" / "used.py")
    monkeypatch.setitem(sys.modules, "used", module)
    _, code = copy(project, tmp_path)
    files = record_of(code)["files"]
    assert files["ignored/used.py"]["state"] == "ignored"
    assert "ignored/unused.py" not in files


def test_runs_inside_the_repository_are_never_copied(project: Path) -> None:
    runs = project / "results" / "runs"
    (runs / "old").mkdir(parents=True)
    (runs / "old" / "events.jsonl").write_text("{}\n")
    (project / "results" / "note.md").write_text("source\n")
    code = runs / "new" / "code"
    capsule.capture(project, code, exclude=runs)
    assert [name for name in record_of(code)["files"] if name.startswith("results/")] == ["results/note.md"]
    assert capsule.check_clean(project, runs_dir=runs) == ["results/note.md"]


def test_a_runs_folder_that_is_the_repository_hides_nothing(project: Path) -> None:
    (project / "train.py").write_text("print('two')\n")
    (project / "new.py").write_text("x = 1\n")
    code = project / "experiment" / "run" / "code"
    capsule.capture(project, code, exclude=project)
    assert {"train.py", "new.py"} <= set(record_of(code)["files"])
    assert not any(name.startswith("experiment/run") for name in record_of(code)["files"])
    assert capsule.check_clean(project, runs_dir=project) == sorted(
        ["new.py", "train.py", *(f"experiment/run/code/{path.name}" for path in code.iterdir())]
    )


def test_tracked_files_below_the_runs_folder_are_source(project: Path, tmp_path: Path) -> None:
    (project / "runs").mkdir()
    (project / "runs" / "plan.py").write_text("x = 1\n")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "plan")
    (project / "runs" / "plan.py").write_text("x = 2\n")
    (project / "runs" / "result.txt").write_text("result\n")
    code = tmp_path / "elsewhere" / "code"
    capsule.capture(project, code, exclude=project / "runs")
    assert "runs/plan.py" in record_of(code)["files"]
    assert "runs/result.txt" not in record_of(code)["files"]
    assert capsule.check_clean(project, runs_dir=project / "runs") == ["runs/plan.py"]


def test_big_files_and_secrets_are_listed_not_copied(project: Path, tmp_path: Path) -> None:
    (project / "model.pt").write_bytes(b"0" * (closure.MAX_FILE_SIZE + 1))
    (project / "just_fits.bin").write_bytes(b"0" * closure.MAX_FILE_SIZE)
    for name in (".env", "server.pem", "package/id_rsa", ".env.example", "secrets.py"):
        (project / name).write_text("password=hunter2\n")
    git(project, "add", ".env")
    found, code = copy(project, tmp_path)
    assert left_out(code) == {
        ".env": "may hold a secret",
        "model.pt": "over 5 MiB",
        "package/id_rsa": "may hold a secret",
        "server.pem": "may hold a secret",
    }
    assert found.left_out == 4
    assert {"just_fits.bin", ".env.example", "secrets.py"} <= set(record_of(code)["files"])
    assert not (code / capsule.STAGED).exists()


def test_a_deleted_secret_does_not_return_in_a_patch(project: Path, tmp_path: Path) -> None:
    (project / ".env").write_text("password=hunter2\n")
    git(project, "add", ".env")
    git(project, "commit", "-q", "-m", "oops")
    git(project, "rm", "-q", ".env")
    _, code = copy(project, tmp_path)
    assert not (code / capsule.STAGED).exists()
    assert record_of(code)["deleted"] == [".env"]


def test_limits_keep_the_most_telling_files(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "pictures").mkdir()
    for index in range(30):
        (project / "pictures" / f"{index}.png").write_bytes(BINARY)
    (project / "zoo.py").write_text("x = 1\n")
    monkeypatch.setattr(closure, "IN_GIT", closure.Limits(files=10, size=2**20))
    _, code = copy(project, tmp_path)
    record = record_of(code)
    assert {"zoo.py", "train.py", "package/net.py", ".gitignore", "logo.png"} <= set(record["files"])
    assert record["left_out"] == [
        {"path": "pictures/", "reason": "over the limit of 10 files or 1 MiB in all", "count": 25}
    ]


def test_repository_without_a_commit(tmp_path: Path, project: Path) -> None:
    root = tmp_path / "empty"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    found, _ = copy(root, tmp_path, "nothing")
    assert (found.commit, found.branch, found.dirty, found.files) == (None, "main", False, 0)
    (root / "a.py").write_text("x = 1\n")
    (root / "b.py").write_text("x = 1\n")
    git(root, "add", "a.py")
    found, code = copy(root, tmp_path)
    assert (found.commit, found.dirty) == (None, True)
    capsule.restore(code, tmp_path / "restored")
    assert tree(tmp_path / "restored") == tree(root)
    assert capsule.check_clean(root, runs_dir=root / "runs") == ["a.py", "b.py"]


def test_facts_about_the_commit(project: Path, tmp_path: Path) -> None:
    git(project, "remote", "add", "origin", "https://me:token@example.org/group/project.git?private_token=abc")
    found, code = copy(project / "package", tmp_path)
    record = record_of(code)
    assert record["git"] == {
        "commit": git(project, "rev-parse", "HEAD").strip(),
        "branch": "main",
        "remote": "https://example.org/group/project.git",
        "submodules": {},
    }
    assert record["directory"] == "package"
    assert not found.dirty
    assert sorted(path.name for path in code.iterdir()) == ["code.json", "source.tar.gz"]
    git(project, "checkout", "-q", "--detach")
    assert copy(project, tmp_path, "detached")[0].branch is None


def test_submodules_and_inner_repositories_are_listed(project: Path, tmp_path: Path) -> None:
    inner = tmp_path / "library"
    inner.mkdir()
    git(inner, "init", "-q")
    (inner / "lib.py").write_text("x = 1\n")
    git(inner, "add", "-A")
    git(inner, "commit", "-q", "-m", "lib")
    git(project, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner), "lib")
    git(project, "-c", "protocol.file.allow=always", "clone", "-q", str(inner), "clone")
    git(project, "commit", "-q", "-m", "lib", "lib", ".gitmodules")
    _, code = copy(project, tmp_path)
    commit = git(inner, "rev-parse", "HEAD").strip()
    assert left_out(code) == {"clone/": "a repository of its own", "lib": f"a submodule at commit {commit}"}


def test_a_sparse_checkout_names_what_is_missing(project: Path, tmp_path: Path) -> None:
    git(project, "update-index", "--skip-worktree", "train.py")
    (project / "train.py").unlink()
    found, code = copy(project, tmp_path)
    assert left_out(code) == {"train.py": "not checked out"}
    assert not found.dirty


def test_a_folder_replaced_by_a_link_is_not_followed(project: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "net.py").write_text("width = 4\n")
    (project / "package" / "net.py").unlink()
    (project / "package").rmdir()
    (project / "package").symlink_to(tmp_path / "elsewhere")
    _, code = copy(project, tmp_path)
    assert record_of(code)["deleted"] == ["package/net.py"]
    assert record_of(code)["files"]["package"]["link"] == str(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"a link that leads out of its folder: 'package'"):
        capsule.restore(code, tmp_path / "refused")
    capsule.restore(code, tmp_path / "restored", follow=True)
    assert tree(tmp_path / "restored") == tree(project)


def test_outside_git_source_files_are_taken(tmp_path: Path, project: Path) -> None:
    root = tmp_path / "plain"
    for name in (
        "train.py",
        "deep/config.yaml",
        "deep/run.sh",
        "notes.ipynb",
        "Makefile",
        "data/1.png",
        "data/2.png",
        "venv/lib/x.py",
        "other_venv/pyvenv.cfg",
        "other_venv/y.py",
        ".cache/z.py",
        "__pycache__/train.cpython-311.pyc",
        "results/exp/run1/run.json",
        "results/exp/run1/code.py",
        "key.pem",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "deep" / "up").symlink_to("..")
    (root / "deep" / "run.sh").chmod(0o755)
    code = root / "runs" / "x" / "code"
    found = capsule.capture(root, code, exclude=root / "runs")
    assert list(record_of(code)["files"]) == ["Makefile", "deep/config.yaml", "deep/run.sh", "notes.ipynb", "train.py"]
    assert left_out(code) == {
        "key.pem": "may hold a secret",
        "*": "not a kind of source file",
        "*.png": "not a kind of source file",
    }
    assert (found.git, found.commit, found.dirty) == (False, None, False)
    assert capsule.check_clean(root, runs_dir=root / "runs") == []
    capsule.require_clean(root, runs_dir=root / "runs")


def test_git_missing_from_path(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))
    with pytest.raises(UserError, match="`git` was not found"):
        capsule.check_clean(project, runs_dir=project / "runs")
    found, code = copy(project / "package", tmp_path)
    assert not found.git
    assert {"train.py", "package/net.py"} <= set(record_of(code)["files"])
    assert "not found" in str(record_of(code)["git_problem"])
    assert capsule.check_clean(tmp_path, runs_dir=tmp_path / "runs") == []


@pytest.mark.parametrize(("file", "text"), [("HEAD", "nonsense"), ("config", "[broken")])
def test_a_broken_repository_does_not_pass_for_none(project: Path, tmp_path: Path, file: str, text: str) -> None:
    (project / ".git" / file).write_text(text)
    with pytest.raises(UserError, match="is a git repository, but: "):
        capsule.check_clean(project, runs_dir=project / "runs")
    assert not copy(project, tmp_path)[0].git


def test_variables_of_a_hook_do_not_mislead(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere.git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert copy(project, tmp_path)[0].git


def test_the_index_is_left_alone(project: Path, tmp_path: Path) -> None:
    os.utime(project / "train.py", (1, 1))
    before = (project / ".git" / "index").read_bytes()
    copy(project, tmp_path)
    assert (project / ".git" / "index").read_bytes() == before


def test_require_clean_names_files_and_ways_out(project: Path) -> None:
    capsule.require_clean(project, runs_dir=project / "runs")
    for index in range(25):
        (project / f"new{index:02}.py").write_text("x = 1\n")
    with pytest.raises(UserError) as caught:
        capsule.require_clean(project / "package", runs_dir=project / "runs")
    text = str(caught.value)
    assert "new00.py" in text
    assert "and 5 more" in text
    assert "--allow-dirty" in text
    (project / "deepdiva.toml").write_text('code = "snapshot"\n')
    capsule.require_clean(project / "package", runs_dir=project / "runs")


def test_unreadable_file_is_listed(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "net.py":
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    _, code = copy(project, tmp_path)
    assert left_out(code) == {"package/net.py": "cannot be read: Permission denied"}


def test_restore_refuses_damage_and_a_full_folder(project: Path, tmp_path: Path) -> None:
    _, code = copy(project, tmp_path)
    with pytest.raises(UserError, match="not empty"):
        capsule.restore(code, project)
    record = json.loads((code / capsule.RECORD).read_text())
    record["files"]["train.py"]["sha256"] = "0" * 64
    (code / capsule.RECORD).write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"damaged: train\.py"):
        capsule.restore(code, tmp_path / "restored")
    del record["files"]["train.py"]
    (code / capsule.RECORD).write_text(json.dumps(record))
    with pytest.raises(UserError, match="does not hold the files"):
        capsule.restore(code, tmp_path / "restored2")
