"""Generated points as files."""

from __future__ import annotations

import json

import pytest
import torch

from deepdiva.data import generating, points
from deepdiva.data.generating import write_points
from deepdiva.data.shapes import SHAPES
from deepdiva.errors import UserError


@pytest.mark.parametrize("name", SHAPES)
def test_files_hold_what_a_run_by_name_gets(name, tmp_path):
    bayes = write_points(name, tmp_path / "set", n=200, seed=3)
    written, drawn = points.read_folder(tmp_path / "set"), points.generate(name, n=200, seed=3)
    for one, other in zip(
        (written.train, written.val, written.test), (drawn.train, drawn.val, drawn.test), strict=True
    ):
        assert one is not None
        assert other is not None
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.targets, other.targets)
    assert written.classes == drawn.classes
    assert json.loads((tmp_path / "set" / "bayes.json").read_text()) == bayes
    assert bayes["error"] is not None
    assert bayes["points_here"] == {"train": 120, "val": 40, "test": 40}
    assert bayes["wrong_here"]["train"] <= 120 * (bayes["error"] + 0.1)
    assert bayes["rule"] == SHAPES[name].rule


def test_nothing_is_overwritten_or_half_written(tmp_path, monkeypatch):
    write_points("xor", tmp_path / "set", n=50)
    with pytest.raises(UserError, match="exists already"):
        write_points("xor", tmp_path / "set", n=50)
    with pytest.raises(UserError, match="no set of points"):
        write_points("xo", tmp_path / "other", n=50)
    monkeypatch.setattr(generating, "bayes_error", lambda *words, **more: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_points("xor", tmp_path / "deep" / "other", n=50)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
