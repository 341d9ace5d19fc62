"""Which files are source, and which most likely hold a secret."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from deepdiva.runs import closure
from deepdiva.runs.closure import LeftOut, from_folder, is_below, is_secret, loaded_files, relative_to


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        "deploy/.env.production",
        "server.PEM",
        "ssh/id_rsa",
        "id_ed25519_work",
        "tls.key",
        ".netrc",
        "secrets.yaml",
    ],
)
def test_secrets_are_told_by_their_names(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", [".env.example", "id_rsa.pub", "secrets.py", "tokenizer.json", "keys.py", "environment.yaml", "key/a.py"]
)
def test_what_only_sounds_like_a_secret_is_source(name: str) -> None:
    assert not is_secret(name)


def test_a_place_below_another() -> None:
    assert is_below("runs", ["runs"])
    assert is_below("runs/a", ["other", "runs"])
    assert not is_below("runs2/a", ["runs"])


def test_names_below_a_root(tmp_path: Path) -> None:
    inside, outside = tmp_path / "a" / "b", tmp_path.parent / "elsewhere"
    assert list(relative_to(tmp_path, [inside, outside, tmp_path, tmp_path.parent])) == ["a/b"]


def test_a_folder_too_large_to_look_through_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "near.py").touch()
    (tmp_path / "far").mkdir()
    for number in range(20):
        (tmp_path / "far" / f"{number}.py").touch()
    monkeypatch.setattr(closure, "OUTSIDE_GIT", replace(closure.OUTSIDE_GIT, visited=10))
    found = from_folder(tmp_path, [])
    assert list(found.files) == ["near.py"]
    assert found.left_out == [LeftOut("far", "the folder holds too many files to look through")]


def test_what_is_no_file_is_listed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    found = from_folder(tmp_path, [])
    assert [(item.path, item.reason) for item in found.left_out] == [("pipe.py", "not a file")]


def test_code_comes_before_settings_when_there_is_not_room_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        (tmp_path / f"{number}.json").touch()
    (tmp_path / "z.py").touch()
    monkeypatch.setattr(closure, "OUTSIDE_GIT", replace(closure.OUTSIDE_GIT, files=2))
    found = from_folder(tmp_path, [])
    assert sorted(found.files) == ["0.json", "z.py"]
    assert [(item.path, item.count) for item in found.left_out] == [(".", 4)]


def test_installed_modules_are_not_the_projects_own() -> None:
    root = Path(__file__).parents[2]
    names = list(loaded_files(root))
    assert "src/deepdiva/runs/closure.py" in names
    assert not any("site-packages" in name for name in names)
