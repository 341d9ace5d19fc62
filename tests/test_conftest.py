"""The fixtures keep their word: a clean repository, and nothing of whoever runs the tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout


def test_a_project_is_a_clean_repository_and_the_current_directory(project: Path, tmp_path: Path):
    assert Path.cwd() == project
    assert git("status", "--porcelain") == ""
    assert git("log", "--format=%an %s") == "Ada Begin\n"
    assert Path(git("rev-parse", "--show-toplevel").strip()).resolve() == project.resolve()


def test_a_project_can_commit_and_is_not_shared(project: Path, committed: Path):
    (project / "new.py").write_text("x = 1\n")
    git("add", "new.py")
    git("commit", "--quiet", "-m", "Add")
    assert not (committed / "new.py").exists()


def test_settings_and_caches_are_the_test_s_own(tmp_path: Path):
    for name in ("CONFIG", "CACHE", "DATA", "STATE"):
        assert Path(os.environ[f"XDG_{name}_HOME"]).is_relative_to(tmp_path.with_name(f"{tmp_path.name}-home"))
    assert list(tmp_path.iterdir()) == []
