from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from deepdiva.runs.folder import RunFolder
from deepdiva.runs.run import Run
from deepdiva.runs.seal import is_sealed, seal


@pytest.fixture
def made(project: Path) -> RunFolder:
    with Run.create("mine", config={"rate": 0.1}) as run:
        run.log(1, {"loss": 0.5})
    return RunFolder.open(run.path)


def secret() -> Path:
    return Path(os.environ["XDG_STATE_HOME"]) / "deepdiva" / "secret"


def test_a_run_of_ones_own_is_known(made: RunFolder) -> None:
    assert is_sealed(made)
    assert stat.S_IMODE(secret().stat().st_mode) == 0o600
    assert [path.name for path in secret().parent.iterdir()] == ["secret"]


def test_a_run_of_another_user_is_not(made: RunFolder) -> None:
    secret().write_bytes(bytes(32))
    assert not is_sealed(RunFolder.open(made.path))
    secret().unlink()
    assert not is_sealed(RunFolder.open(made.path))
    assert not secret().exists()


def test_a_seal_fits_one_run_and_one_configuration(made: RunFolder) -> None:
    config = (made.path / "config.yaml").read_bytes()
    assert made.record["seal"] == seal(made.id, config)
    assert seal(made.id, config + b"\n") != made.record["seal"]
    assert seal("another", config) != made.record["seal"]


def test_without_a_place_for_the_secret_nothing_is_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert seal("a", b"") is None


def test_a_damaged_secret_is_none(made: RunFolder) -> None:
    secret().write_bytes(b"short")
    assert seal("a", b"") is None
    assert not is_sealed(made)
