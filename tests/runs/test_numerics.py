"""Numeric fingerprints are read without torch; what differs is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepdiva.runs.numerics import NAME, differing, digest_of, parse, read
from deepdiva.runs.run import Run
from deepdiva.runs.storage import StorageError


def document(**operations: str) -> dict[str, Any]:
    return {"schema": 1, "digest": digest_of(operations), "settings": {"threads": 1}, "operations": operations}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    with Run.create("numbers", tensorboard=False) as run:
        run.log(1, {"loss": 1.0})
    return run.path


def test_a_run_without_one_is_no_trouble(run: Path):
    assert read(run) is None


def test_what_was_written_is_read(run: Path):
    (run / NAME).write_text(json.dumps(document(sum="a", mm="b")))
    found = read(run)
    assert found is not None
    assert found["operations"] == {"sum": "a", "mm": "b"}


@pytest.mark.parametrize("damage", ["{", "[]", '{"schema": 1}', '{"schema": 2}'])
def test_a_damaged_one_is_named(run: Path, damage: str):
    (run / NAME).write_text(damage)
    with pytest.raises(StorageError, match=r"numerics\.json"):
        read(run)


def test_one_changed_hash_is_damage():
    changed = document(sum="a")
    changed["operations"] = {"sum": "b"}
    with pytest.raises(ValueError, match="digest"):
        parse(changed)


def test_what_differs_is_named_in_order():
    a, b = document(mm="1", sum="2", conv="3"), document(conv="4", mm="1", sum="2")
    assert differing(a, a) == []
    assert differing(a, b) == ["conv"]


def test_an_operation_that_one_side_lacks_differs():
    assert differing(document(mm="1", fft="2"), document(mm="1", sort="3")) == ["fft", "sort"]
