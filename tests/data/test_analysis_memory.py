from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from deepdiva.data import analysis_memory
from deepdiva.data.analysis_memory import moments_of
from deepdiva.data.analyze import analyze
from deepdiva.data.footprint import footprint
from deepdiva.data.statistics import Moments


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for place, name in enumerate(("train/a/1.png", "train/b/2.png", "val/a/3.png")):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2), 51 * place).save(path)
    return tmp_path / "set"


def test_moments_are_known_for_the_samples_of_a_split_only(root):
    proof = footprint(root).root
    assert moments_of(proof, ["train/a/1.png", "train/b/2.png"]) is None
    analyze(root)
    assert moments_of(proof, ["train/b/2.png", "train/a/1.png"]) == Moments((0.1,), (0.1,))
    assert moments_of(proof, ["train/a/1.png"]) is None
    assert moments_of("0" * 64, ["train/a/1.png", "train/b/2.png"]) is None


def test_another_decoder_makes_it_unknown(root, monkeypatch):
    proof = analyze(root).root
    monkeypatch.setattr(analysis_memory, "decoder", lambda: "another")
    assert moments_of(proof, ["val/a/3.png"]) is None


def test_damage_is_noticed(root):
    proof = analyze(root).root
    (file,) = analysis_memory._folder().iterdir()
    file.write_bytes(file.read_bytes().replace(b"0.1", b"0.2"))
    assert moments_of(proof, ["train/a/1.png", "train/b/2.png"]) is None
    assert analyze(root).parts[0].mean == (0.1,)


def test_a_cache_that_cannot_be_written_is_no_trouble(root, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert analyze(root).images == 3
