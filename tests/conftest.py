"""Fixtures that every test may use: a project under version control, and the command line in process."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from tests.warm import Warm

from deepdiva.engine import determinism

# As `deepdiva` does: these variables are read when torch loads, and some test will load it.
determinism.prepare("invariant")
# With torch loaded, a collection looks at a million objects that stay; tests make little that is garbage.
gc.set_threshold(100_000, 50, 100)
# Fonts are looked up once for all tests, although each test has folders of its own below.
os.environ.setdefault("MPLCONFIGDIR", str(Path(tempfile.gettempdir()) / f"deepdiva-tests-matplotlib-{os.getuid()}"))
# A deadline measures the machine, not the code; in CI a test that passes must pass again.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

GIT_IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
NOT_OURS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "FORCE_COLOR", "COLUMNS")


@dataclass(frozen=True)
class Answer:
    """What a command gave: `code` is the exit status, `out` the answer, `err` progress and complaints."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The numeric fingerprints of all tests: measuring one takes 0.4 s, and every training keeps one."""
    return tmp_path_factory.mktemp("numerics")


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps a test away from the settings, caches and git identity of whoever runs it."""
    home = tmp_path.with_name(f"{tmp_path.name}-home")  # beside it: a test may count what is in its own folder
    for name in ("CONFIG", "CACHE", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    cache = home / "cache" / "deepdiva"
    cache.mkdir(parents=True)
    (cache / "numerics").symlink_to(measured, target_is_directory=True)
    for name, value in GIT_IDENTITY.items():
        monkeypatch.setenv(name, value)
    for name in NOT_OURS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one commit, made once and copied for each test that needs one."""
    folder = tmp_path_factory.mktemp("committed")
    (folder / "README.md").write_text("A project.\n")
    (folder / ".gitignore").write_text("runs/\n__pycache__/\n")
    for words in (["init", "--quiet", "--initial-branch=main"], ["add", "."], ["commit", "--quiet", "-m", "Begin"]):
        subprocess.run(["git", *words], cwd=folder, env=os.environ | GIT_IDENTITY, check=True)
    return folder


@pytest.fixture
def project(committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of the test's own: the current directory, under version control, nothing uncommitted."""
    folder = tmp_path / "project"
    shutil.copytree(committed, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def warm_programs() -> Iterator[Path]:
    """A folder with `deepdiva` and `python` that start at once; see `tests/warm.py`."""
    if not sys.platform.startswith("linux"):  # a fork of what has loaded the libraries of macOS is not safe
        yield Path(sys.executable).parent
        return
    warm = Warm()
    yield warm.programs
    warm.close()


@pytest.fixture
def warm_python(warm_programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes that this one starts are forked, as far as their environment allows it."""
    monkeypatch.setattr(sys, "executable", str(warm_programs / "python"))


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Runs `deepdiva WORDS…` in this process: `cli("runs", "ls")` gives an `Answer`."""

    def call(*words: object) -> Answer:
        from deepdiva.cli.main import main

        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        printed = capsys.readouterr()
        return Answer(code or 0, printed.out, printed.err)

    return call
