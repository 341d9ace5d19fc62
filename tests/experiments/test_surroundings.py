from __future__ import annotations

import io
import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from deepdiva.errors import UserError
from deepdiva.experiments import surroundings
from deepdiva.experiments.fresh import Request


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "found").mkdir()
    return tmp_path / "found"


def test_an_interpreter_that_cannot_do_it_says_why(folder: Path, tmp_path: Path):
    (tmp_path / "python").write_text("#!/bin/sh\necho no module named torch >&2\nexit 9\n")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(UserError, match="exit code 9") as caught:
        surroundings.survey(Request({}, str(tmp_path), python=str(tmp_path / "python")), folder)
    assert "no module named torch" in caught.value.__notes__[0]


def test_what_is_refused_there_is_refused_here(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = json.dumps(asdict(Request({"device": "cuda:9", "threads": 1}, str(tmp_path)))).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert surroundings._serve(folder) == 2
    (tmp_path / "python").write_text("#!/bin/sh\nexit 2\n")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(UserError, match="--device cuda:9") as caught:
        surroundings.survey(Request({}, str(tmp_path), python=str(tmp_path / "python")), folder)
    assert caught.value.hint is not None
