"""Layers merge: later above earlier, a new class drops the old one's arguments, every value keeps its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepdiva.config import Config, from_config, from_mapping, read_file
from deepdiva.config.layers import fold, from_defaults, get, merge, put
from deepdiva.config.schema import Setting
from deepdiva.errors import UserError

COMPONENTS = frozenset({"model", "optimizer"})


def merged(*layers: dict[str, object]) -> dict[str, object]:
    named = [from_mapping(values, f"layer {number}") for number, values in enumerate(layers)]
    return merge(named, COMPONENTS).values


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        ("cnn", "mlp", {"class": "mlp"}),
        ("cnn", {"width": 3}, {"class": "cnn", "width": 3}),
        ({"class": "cnn", "width": 3}, "mlp", {"class": "mlp"}),
        ({"class": "cnn", "width": 3}, "CNN", {"class": "CNN", "width": 3}),
        ({"class": "cnn", "width": 3}, {"class": "cnn", "depth": 1}, {"class": "cnn", "width": 3, "depth": 1}),
        ({"class": "cnn", "width": 3}, {"class": "mlp", "depth": 1}, {"class": "mlp", "depth": 1}),
        ({"class": "cnn", "width": 3}, None, None),
        (None, {"class": "cnn"}, {"class": "cnn"}),
        ({"class": "cnn", "width": 3}, {"width": None}, {"class": "cnn", "width": None}),
        ({"class": "choice(cnn, mlp)", "width": 3}, "cnn", {"class": "cnn", "width": 3}),
        ({"class": "W", "in": {"class": "A", "a": 1}}, {"in": "B"}, {"class": "W", "in": {"class": "B"}}),
        (
            {"class": "W", "in": {"class": "A", "a": 1}},
            {"in": {"b": 2}},
            {"class": "W", "in": {"class": "A", "a": 1, "b": 2}},
        ),
    ],
)
def test_components_merge(first: object, second: object, result: object):
    assert merged({"model": first}, {"model": second}) == {"model": result}


def test_lists_and_single_values_are_replaced():
    assert merged({"a": [1, 2], "b": {"c": 1, "d": 2}}, {"a": [3], "b": {"c": 4}}) == {"a": [3], "b": {"c": 4, "d": 2}}
    assert merged({"a": {"b": 1}}, {"a": 3}, {"a": {"c": 2}}) == {"a": {"c": 2}}


def test_origins_follow_the_values():
    layers = [
        from_mapping({"model": {"class": "cnn", "width": 3}, "epochs": 1}, "first"),
        from_mapping({"model": "mlp"}, "second"),
        from_mapping({"model": {"depth": 2}}, "third"),
    ]
    assert merge(layers, COMPONENTS).origins == {
        "epochs": "first",
        "model": "second",
        "model.class": "second",
        "model.depth": "third",
    }


def test_a_file_knows_its_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text("epochs: 3\noptimizer:\n  lr: 1e-3\n")
    layer = read_file("run.yaml")
    assert layer.values == {"epochs": 3, "optimizer": {"lr": 1e-3}}
    assert layer.where("optimizer.lr") == "run.yaml:3"


def test_a_missing_file_is_an_error():
    with pytest.raises(UserError, match="there is no file"):
        read_file("nowhere.yaml")


def test_only_what_was_named_in_python_is_a_layer():
    config = Config(task="reading", epochs=10, training={"patience": 3}, model={"class": "cnn", "width": 3})
    assert from_config(config).values == {
        "task": "reading",
        "epochs": 10,
        "training": {"patience": 3},
        "model": {"class": "cnn", "width": 3},
    }


def test_defaults_are_nested():
    layer = from_defaults([Setting("a", int, 1), Setting("g.b", tuple, (1, 2)), Setting("needed", int)])
    assert layer.values == {"a": 1, "g": {"b": [1, 2]}}


def test_values_by_path():
    values: dict[str, object] = {}
    put(values, "a.b.c", 1)
    assert get(values, "a.b.c") == 1
    assert get(values, "a.x", "default") == "default"
    assert get(values, "a.b.c.d") is None


def test_spellings_of_one_name():
    assert fold("AdamW") == fold("adamw") == fold("adam-w")
    assert fold("./my_task.py:MyTask") == fold("my_task.py:MyTask")
    assert fold("pkg.mod:Net") == fold("pkg.mod.Net")
    assert fold("cnn") != fold("mlp")
