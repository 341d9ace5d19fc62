"""`deepdiva data generate`, `shuffle-labels` and `remove-whitespace`, as they are typed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from deepdiva.cli.data import make
from deepdiva.errors import UserError

Call = Callable[..., tuple[str, str]]


@pytest.fixture
def data(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> tuple[str, str]:
        parser = argparse.ArgumentParser(prog="deepdiva data", allow_abbrev=False)
        make.add_parsers(parser.add_subparsers(required=True))
        arguments = parser.parse_args([str(word) for word in words])
        capsys.readouterr()
        assert arguments.func(arguments) == 0
        printed = capsys.readouterr()
        return printed.out, printed.err

    return call


def test_generate(data):
    out, err = data("generate", "xor", "--to", "x", "-n", 100, "--noise", 0.1, "--seed", 7)
    assert out.splitlines()[0] == "wrote x: 100 points, 2 classes, noise 0.1"
    assert "its error: 0.0766 (numerical integration over the plane); on the test points here" in out
    assert "deepdiva run points --data x" in err
    bayes = json.loads(data("generate", "circle", "--to", "c", "--classes", 3, "--json")[0])
    assert bayes["classes"] == 3
    assert bayes == json.loads(Path("c/bayes.json").read_text())
    with pytest.raises(UserError, match="exists already"):
        data("generate", "xor", "--to", "x")
    with pytest.raises(UserError) as caught:
        data("generate", "crcle", "--to", "y")
    assert caught.value.hint == "did you mean 'circle'?"


def test_shuffle_labels(data):
    data("generate", "xor", "--to", "x", "-n", 100)
    out, err = data("shuffle-labels", "x", "--to", "s", "--fraction", 0.5)
    assert out.startswith("wrote s: 30 of 60 training labels shuffled, ")
    assert err == ""
    Path("x/val/data.csv").unlink()
    assert "there is no val" in data("shuffle-labels", "x", "--to", "t")[1]
    answer = json.loads(data("shuffle-labels", "x", "--to", "u", "--json")[0])
    assert answer["samples"] == 60


def test_remove_whitespace(data):
    Path("pages").mkdir()
    picture = Image.new("L", (10, 10), 255)
    picture.save("pages/blank.png")
    picture.paste(0, (2, 2, 7, 6))
    picture.save("pages/a.png")
    out, err = data("remove-whitespace", "pages", "--to", "tight")
    assert out == "wrote tight: 1 of 2 images cropped, 40.0% of all pixels removed\n"
    assert err == "blank.png: is blank, and was kept as it is\n"
    answer = json.loads(data("remove-whitespace", "pages", "--to", "loose", "--margin", 1, "--json")[0])
    assert answer["blank"] == ["blank.png"]
    assert answer["pixels_after"] == 100 + 7 * 6
