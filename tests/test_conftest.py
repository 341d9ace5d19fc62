"""The fixtures keep their word: a clean repository, and nothing of whoever runs the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere these are the real programs")
class TestWarmPrograms:
    """What is forked is what would have been executed."""

    ASK = "import os, sys; print('torch' in sys.modules, os.getcwd(), os.environ['COLOUR'], sys.stdin.read())"

    def ask(self, programs: Path, folder: Path, **environment: str) -> list[str]:
        done = subprocess.run(
            [programs / "python", "-c", self.ASK],
            cwd=folder,
            env={**os.environ, "COLOUR": "blue", **environment},
            input="sent",
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    def test_folder_environment_and_streams_are_those_of_the_caller(self, warm_programs: Path, tmp_path: Path):
        assert self.ask(warm_programs, tmp_path) == ["True", str(tmp_path), "blue", "sent"]

    def test_what_is_read_on_loading_is_not_set_too_late(self, warm_programs: Path, tmp_path: Path):
        answer = self.ask(warm_programs, tmp_path, ATEN_CPU_CAPABILITY="default")
        assert answer == ["False", str(tmp_path), "blue", "sent"]

    @pytest.mark.parametrize(
        ("ending", "code"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", -9), ("1 / 0", 1), ("pass", 0)]
    )
    def test_it_ends_as_it_would(self, warm_programs: Path, ending: str, code: int):
        done = subprocess.run([warm_programs / "python", "-c", f"import os, sys; {ending}"], capture_output=True)
        assert done.returncode == code
        assert (b"ZeroDivisionError" in done.stderr) == (code == 1)
