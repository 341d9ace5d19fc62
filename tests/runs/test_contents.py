"""The files of a run folder: what is written reads back to the same values."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepdiva.config.yaml_reader import read_text
from deepdiva.runs.contents import config_text, data_files, figure_path, flat, plain_settings, predictions_csv


def test_settings_of_an_own_loop_become_yaml_that_reads_back():
    settings = {"lr": 1e-5, "name": "no", "layers": [64, 64], "path": Path("data/x"), "optimizer": {"class": "AdamW"}}
    text, digest = config_text(settings)
    values = read_text(text, "config.yaml").values
    assert values == plain_settings(settings) == {**settings, "path": "data/x"}
    assert config_text(values)[1] == digest
    assert config_text({**settings, "lr": 2e-5})[1] != digest


def test_no_settings():
    assert plain_settings(None) == {}
    assert flat({"a": {"b": {"c": 1}}, "d": [1]}) == {"a.b.c": 1, "d": [1]}


def test_data_files_and_their_digest():
    footprint = SimpleNamespace(root="abc", to_json=lambda: "{}\n")
    files, digest = data_files([footprint], {"val": ("a", "b")}, {"mean": np.float64(0.5)})
    assert set(files) == {"footprint-0.json", "membership.json", "statistics.json"}
    assert json.loads(files["membership.json"]) == {"val": ["a", "b"]}
    assert json.loads(files["statistics.json"]) == {"mean": 0.5}
    assert data_files([footprint], {"val": ("a", "b")}, {})[1] == digest
    assert data_files([footprint], {"val": ("b", "a")}, {})[1] != digest
    assert data_files([], {"val": ("a", "b")}, {})[1] != digest
    assert data_files([], {}, {})[0] == {}


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0")),
            st.integers(),
            st.floats(allow_nan=False),
        )
    )
)
def test_predictions_read_back(rows):
    ids, truths, scores = zip(*rows, strict=True) if rows else ((), (), ())
    header, *read = csv.reader(io.StringIO(predictions_csv({"truth": truths, "score": scores, "id": ids})))
    assert header == ["id", "truth", "score"]
    assert [(name, int(truth), float(score)) for name, truth, score in read] == list(
        zip(ids, truths, scores, strict=True)
    )


def test_predictions_of_numpy_keep_their_bits():
    scores = np.random.default_rng(0).random(50, dtype=np.float32)
    text = predictions_csv({"id": range(50), "score": scores, "flag": scores > 0.5})
    _, *rows = csv.reader(io.StringIO(text))
    assert np.array([row[1] for row in rows], dtype=np.float64).astype(np.float32).tobytes() == scores.tobytes()
    assert {row[2] for row in rows} == {"True", "False"}


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        predictions_csv({"id": ["a", "b"], "truth": [1]})


@pytest.mark.parametrize(
    ("tag", "path"),
    [
        ("val/confusion", "figures/val/confusion/00000003.png"),
        ("plain", "figures/plain/00000003.png"),
        ("a b/ü?", "figures/a_b/__/00000003.png"),
        ("../../etc", "figures/etc/00000003.png"),
        ("/abs//x/.", "figures/abs/x/00000003.png"),
    ],
)
def test_figures_stay_in_their_folder(tag, path):
    assert figure_path(tag, 3).as_posix() == path
