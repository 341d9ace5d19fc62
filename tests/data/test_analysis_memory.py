from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from deepdiva.data import analysis_memory
from deepdiva.data.analysis_memory import clear, kept, key_of, recall
from deepdiva.data.analyze import Scope, analyze
from deepdiva.data.footprint import Recorder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for place, name in enumerate(("train/a/1.png", "train/b/2.png", "val/a/3.png")):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2), 51 * place).save(path)
    return tmp_path / "set"


def files() -> list[Path]:
    return [file for file, _ in kept()]


def test_what_was_found_is_not_looked_for_again(root):
    found = analyze(root)
    key = key_of(found.root, Scope().apply(Recorder(root))[0], None)
    assert recall(found.root, key) == replace(found, source="")
    assert recall("0" * 64, key) is None


def test_another_decoder_makes_it_unknown(root, monkeypatch):
    found = analyze(root)
    monkeypatch.setattr(analysis_memory, "decoder", lambda: "another")
    assert recall(found.root, key_of(found.root, Scope().apply(Recorder(root))[0], None)) is None


def test_damage_is_noticed(root):
    analyze(root)
    (file,) = files()
    file.write_bytes(file.read_bytes().replace(b"0.1", b"0.2"))
    assert analyze(root).parts[0].mean == (0.1,)


def test_results_are_removed_on_request_and_when_they_grow_too_many(root, monkeypatch):
    analyze(root)
    (first,) = files()
    os.utime(first, (1, 1))
    assert clear(older_than=time.time()) == []
    monkeypatch.setattr(analysis_memory.manifest.keep_within, "__defaults__", (first.stat().st_size + 100,))
    analyze(root, Scope(group_by=r"/([ab])/"))
    assert len(files()) == 1
    assert not first.exists()
    assert len(clear(older_than=3600)) == 0
    assert len(clear()) == 1
    assert kept() == []


def test_a_cache_that_cannot_be_written_is_no_trouble(root, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert analyze(root).images == 3
