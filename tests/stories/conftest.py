"""Whole stories through the command line: a small run in a project of its own, and a refusal that leaves nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.conftest import Answer

from deepdiva.runs.folder import RunFolder

# Nothing drawn, one thread, one seed: a run of 60 points takes a tenth of a second.
QUICK = ("--threads", 1, "--seed", 5, "--figures", "none", "--no-tensorboard")

Cli = Callable[..., Answer]
Run = Callable[..., RunFolder]
Refused = Callable[..., str]


@pytest.fixture(autouse=True)
def unloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """What a test imports from its own project is forgotten afterwards, as by a new process."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def run(cli: Cli, project: Path) -> Run:
    """Runs `deepdiva run WORDS…` quickly and gives the finished run; `quick=False` leaves out the usual words."""

    def call(*words: object, quick: bool = True) -> RunFolder:
        answer = cli("run", *words, *(QUICK if quick else ()), "--json")
        assert answer.code == 0, answer.err
        return RunFolder.open(json.loads(answer.out)["path"])

    return call


@pytest.fixture
def refused(cli: Cli, project: Path) -> Refused:
    """Runs a command that must be refused: exit code 2, one message, nothing written. Gives the message."""

    def call(*words: object) -> str:
        before = names_below(project)
        answer = cli(*words)
        assert answer.code == 2, answer.err
        assert answer.out == ""
        assert answer.err.startswith("error: ")
        assert answer.err.count("error: ") == 1
        assert "Traceback" not in answer.err
        assert names_below(project) == before
        return answer.err.removeprefix("error: ")

    return call


def names_below(folder: Path) -> set[str]:
    """All files and folders of a project that git or Python did not make."""
    names = (path.relative_to(folder) for path in folder.rglob("*"))
    return {str(name) for name in names if ".git" not in name.parts and "__pycache__" not in name.parts}


@pytest.fixture
def commit(project: Path) -> Callable[..., None]:
    """Writes files of the project and commits them: `commit(**{"net.py": "…"})`."""
    import subprocess

    def write(**files: str) -> None:
        for name, text in files.items():
            (project / name).write_text(text)
        subprocess.run(["git", "add", "."], cwd=project, check=True)
        subprocess.run(["git", "commit", "--quiet", "-m", "Change"], cwd=project, check=True)

    return write


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the bundled digits as gray PNG files: 12 for training and 5 for testing of each of three classes."""
    from deepdiva.data.arrays import load_digits

    splits = load_digits()
    folder = tmp_path_factory.mktemp("digits")
    for name, samples, count in (("train", splits.train, 12), ("test", splits.test, 5)):
        for digit in (0, 1, 2):
            below = folder / name / str(digit)
            below.mkdir(parents=True)
            chosen = np.flatnonzero(np.asarray(samples.targets) == digit)[:count]
            for place in chosen:
                pixels = np.asarray(samples.inputs[place][0])
                Image.fromarray(pixels).save(below / f"{place:04d}.png")
    return folder
