"""`deepdiva data cache`: what is kept is listed and removed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from PIL import Image

from deepdiva.cli.data.cache import add_parsers
from deepdiva.data.analyze import analyze
from deepdiva.data.image_folder import load_image_folder


def call(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_parsers(parser.add_subparsers())
    args = parser.parse_args(["cache", *words])
    code: int = args.func(args)
    return code


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("train/a/1", "train/b/1", "val/a/1", "val/b/1"):
        path = tmp_path / "letters" / f"{name}.png"
        path.parent.mkdir(parents=True)
        Image.new("L", (6, 7)).save(path)
    return tmp_path / "letters"


def test_nothing(capsys: pytest.CaptureFixture[str]):
    assert call("ls") == 0
    assert capsys.readouterr().out == "nothing is kept\n"
    assert call("ls", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []
    assert call("clear") == 0
    assert capsys.readouterr().out == "removed 0, 0.0 MB\n"


def test_list_and_clear(root: Path, capsys: pytest.CaptureFixture[str]):
    used = load_image_folder(root)
    assert call("ls") == 0
    out = capsys.readouterr().out
    assert str(root) in out
    assert "4 x 1 x 7 x 6" in out
    assert "of 20.00 GB" in out
    call("ls", "--json")
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["shape"], row["in_use"]) == ([4, 1, 7, 6], True)
    call("clear")
    answer = capsys.readouterr()
    assert answer.out == "removed 0, 0.0 MB\n"
    assert "a run uses it" in answer.err
    del used
    call("clear", "--older-than", "1h")
    assert capsys.readouterr().out.startswith("removed 0")
    call("clear", "--older-than", "0s")
    assert capsys.readouterr().out.startswith("removed 1")


def test_results_of_analyses_are_listed_and_removed(root: Path, capsys: pytest.CaptureFixture[str]):
    analyze(root)
    call("ls")
    assert "1 of data analyze" in capsys.readouterr().out
    call("clear", "--older-than", "1h")
    call("clear")
    assert [line[:9] for line in capsys.readouterr().out.splitlines()] == ["removed 0", "removed 1"]


def test_an_age_is_checked(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        call("clear", "--older-than", "long")
    assert "such as 30d" in capsys.readouterr().err
