"""Layers become one checked configuration that writes and reads back to the same bytes, or all mistakes at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.config.conftest import READING, Reading

from deepdiva.config import (
    Component,
    Config,
    Layer,
    SearchRange,
    TaskInfo,
    digest,
    from_config,
    from_mapping,
    parse_words,
    resolve,
    search_ranges,
    task_name,
    task_settings,
)
from deepdiva.config.yaml_reader import read_text
from deepdiva.errors import Problem, UserErrors


def test_defaults_preset_files_and_options_in_this_order(from_yaml):
    resolved = from_yaml("epochs: 1\nbatch_size: 2\nseed: 3\n", "batch_size: 20\nseed: 30\n", words=["--seed", "300"])
    config = resolved.config
    assert (config.epochs, config.batch_size, config.seed, config.device) == (1, 20, 300, "auto")
    assert config.model == Component("cnn")
    places = {path: resolved.origins[path] for path in ("epochs", "batch_size", "seed", "device", "model")}
    assert places == {
        "epochs": "run.yaml:1",
        "batch_size": "run2.yaml:1",
        "seed": "--seed",
        "device": "default",
        "model": "task preset",
    }


def test_every_default_is_written(from_words):
    resolved = from_words()
    assert resolved.config.model_fields_set == set(Config.model_fields)
    assert set(resolved.config.task.arguments) == set(Reading.__dataclass_fields__)
    assert resolved.config.optimizer == Component("AdamW", {"lr": 0.003})


def test_settings_of_the_task_have_their_own_types(from_words):
    resolved = from_words("--size", "[8, 9]", "--label-smoothing", "1", "--augment", "[Flip, {class: Blur, p: 1}]")
    task = Reading(**resolved.task_settings)
    assert task.size == (8, 9)
    assert task.augment == (Component("Flip"), Component("Blur", {"p": 1}))
    assert task.root == Path("words")
    assert resolved.config.task.arguments["label_smoothing"] == 1.0
    assert repr(resolved.config.task.arguments["label_smoothing"]) == "1.0"
    assert task_settings(Reading, resolved.config) == dict(resolved.task_settings)


def test_arguments_keep_the_class_they_were_given_for(from_words):
    assert from_words("--optimizer.lr", "0.1").config.optimizer == Component("AdamW", {"lr": 0.1})
    assert from_words("--optimizer", "SGD").config.optimizer == Component("SGD")
    assert from_words("--optimizer", "adamw").config.optimizer == Component("adamw", {"lr": 0.003})


def test_null_removes_a_component(from_words, from_yaml):
    assert from_words("--model", "null").config.model is None
    assert from_yaml("model: null\ntraining:\n").config.model is None


def test_a_config_made_in_python_is_a_layer():
    config = Config(task="reading", epochs=10, training={"patience": 3})
    resolved = resolve(READING, layers=[from_config(config, "my_script.py")])
    assert (resolved.config.epochs, resolved.config.training.patience) == (10, 3)
    assert resolved.origins["epochs"] == "my_script.py"
    again = resolve(READING, layers=[from_config(resolved.config)])
    assert again.config == resolved.config


EVERYTHING_WRONG = """\
epoch: 3
lr: 0.1
epochs: 1_0
epochs: 3
training:
  patience: 1.0
  patence: 3
optimizer:
  lr: loguniform(1e-4, 1e-1)
momentum.x: 3
label_smoothing: 2
logging: 3
task:
  label_smoothing: 2
  loss: {weight: 3}
seed: true
precision: float23
allow_dirty: yes
2: 4
"""


def test_all_mistakes_at_once_with_their_places(from_yaml, complaints):
    words = ["--lr", "0.1", "--threads", "-1", "--no-epochs", "--size", "[8]"]
    assert complaints(from_yaml, EVERYTHING_WRONG, words=words) == [
        "--lr: there is no such option (did you mean `--optimizer.lr`?)",
        "--no-epochs: only settings that are true or false have a `--no-` form (write `--epochs VALUE`)",
        "--size: expected a list of 2 whole numbers, or null, got [8]",
        "--threads: expected a whole number of at least 1, or null, got -1",
        "run.yaml:1: there is no setting 'epoch' (did you mean 'epochs'?)",
        "run.yaml:2: there is no setting 'lr' (did you mean 'lr' below 'optimizer:'?)",
        "run.yaml:3: 'epochs': expected a whole number of at least 0, got the text '1_0' "
        "(write the number without quotation marks, `_` and `,`)",
        "run.yaml:4: 'epochs' is given twice (first in line 3) (remove one of the two)",
        "run.yaml:6: 'training.patience': expected a whole number of at least 1, or null, got 1.0 (write 1)",
        "run.yaml:7: there is no setting 'training.patence' (did you mean 'training.patience'?)",
        "run.yaml:9: 'optimizer.lr': `loguniform(1e-4, 1e-1)` is a search range, but a run needs one value "
        "(write one value)",
        "run.yaml:10: the key 'momentum.x' has a dot (write `momentum:`, below it, indented, `x:`)",
        "run.yaml:11: there is no setting 'label_smoothing' (did you mean 'label_smoothing' below 'task:'?)",
        "run.yaml:12: 'logging': expected settings below it, got 3 "
        "(write `logging:` and below it, indented, such as `every:`)",
        "run.yaml:14: 'task.label_smoothing': expected a number from 0 to 1, got 2",
        "run.yaml:15: 'task.loss' has arguments (weight), but no class "
        "(write `--loss NAME`, or `class: NAME` in a file)",
        "run.yaml:16: 'seed': expected a whole number from 0 to 9223372036854775807, or null, got true",
        "run.yaml:17: 'precision': expected one of float32, bfloat16, float16, got the text 'float23' "
        "(did you mean 'float32'?)",
        "run.yaml:18: 'allow_dirty': expected true or false, got the text 'yes' "
        "(write true: YAML 1.2 reads `yes` as text)",
        "run.yaml:19: a key must be text, got 2 (put it in quotation marks)",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("task: points", "run.yaml:1: these settings are for the task 'points', but 'reading' is to run"),
        ("task: {class: points, noise: 1}", "these settings are for the task 'points', but 'reading' is to run"),
        ("task: 3", "run.yaml:1: 'task': expected settings below it, got 3 (write `task:` and below it,"),
        ("task: {noise: 3}", "run.yaml:1: there is no setting 'task.noise'"),
        ("model: 3", "run.yaml:1: 'model': a component is a name such as `resnet18`"),
        ("model: {class: 3}", "run.yaml:1: 'model': a component needs the name of a class, got 3"),
        ("model: [cnn]", "run.yaml:1: 'model': a component is a name"),
        ("scheduler:\n  T_max: 3", "run.yaml:1: 'scheduler' has arguments (T_max), but no class (write `--sched"),
        ("epochs: null", "run.yaml:1: 'epochs': expected a whole number of at least 0, got null"),
        ("epochs: {a: 1}", "run.yaml:1: 'epochs': expected a whole number of at least 0, got {a: 1}"),
        ("optimizer: null", "run.yaml:1: 'optimizer': a component is a name"),
        ("seed: uniform(0)", "run.yaml:1: 'seed': the search range 'uniform(0)' needs two numbers"),
        ("optimizer: choice(SGD, AdamW)", "run.yaml:1: 'optimizer': `choice(SGD, AdamW)` is a search range"),
        ("task:\n  augment: [{p: 1}]", "run.yaml:2: 'task.augment': a component is a name"),
        ("<<: {a: 1}", "run.yaml:1: there is no setting '<<'"),
        ("learning_rate: 3", "run.yaml:1: there is no setting 'learning_rate' (did you mean 'lr' below 'optimizer:'?)"),
    ],
)  # fmt: skip
def test_one_mistake_gets_one_complaint(from_yaml, complaints, text: str, complaint: str):
    found = complaints(from_yaml, text)
    assert len(found) == 1
    assert complaint in found[0]


def test_a_setting_that_the_task_needs(complaints):
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Needs:
        folder: str

    task = TaskInfo("needs", Needs)
    assert complaints(resolve, task, layers=[]) == ["the task needs 'folder': text (write `--folder VALUE`)"]
    assert resolve(task, layers=[parse_words(["--folder", "x"], task)]).task_settings == {"folder": "x"}


def test_mistakes_in_components_come_with_the_others(from_words, complaints):
    seen: list[Mapping[str, Component]] = []

    def check(components: Mapping[str, Component], origins: Mapping[str, str]) -> list[Problem]:
        seen.append(components)
        return [Problem("wrong", origins["model.width"])]

    words = ["--model.width", "3", "--augment", "[Flip]", "--epochs", "ten"]
    assert complaints(from_words, *words, check_components=check) == [
        "--epochs: expected a whole number of at least 0, got the text 'ten'",
        "--model.width: wrong",
    ]
    assert seen == [{"model": Component("cnn", {"width": 3}), "task.augment.0": Component("Flip")}]


def test_the_task_is_found_in_the_layers():
    layers = [from_mapping({"task": {"class": "points"}}, "a"), from_mapping({"epochs": 3}, "b")]
    assert task_name(layers) == "points"
    assert task_name([*layers, from_mapping({"task": "reading"}, "c")]) == "reading"
    assert task_name([]) is None


def test_search_ranges_give_way_to_the_values_of_a_trial(from_words):
    words = ["--optimizer.lr", "loguniform(1e-4, 1e-1)", "--model", "choice(cnn, mlp)", "--model.width", "3"]
    layers = [parse_words(words, READING)]
    assert search_ranges(READING, layers=layers) == {
        "optimizer.lr": SearchRange("loguniform", (1e-4, 1e-1)),
        "model": SearchRange("choice", ("cnn", "mlp")),
    }
    trial = from_mapping({"optimizer": {"lr": 0.01}, "model": "mlp"}, "trial 3")
    config = resolve(READING, layers=[*layers, trial]).config
    assert config.optimizer == Component("AdamW", {"lr": 0.01})
    assert config.model == Component("mlp", {"width": 3})
    with pytest.raises(UserErrors, match="needs its lower end first"):
        search_ranges(READING, layers=[parse_words(["--optimizer.lr", "uniform(2, 1)"], READING)])


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
single = st.none() | st.booleans() | st.integers() | st.floats() | text
plain_values = st.recursive(
    single,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(text.filter(lambda key: key != "class"), inner, max_size=3)
    ),
    max_leaves=6,
)
names = st.text(min_size=1, max_size=12).filter(lambda name: name.isprintable())
component_mappings = st.deferred(
    lambda: st.builds(
        lambda name, arguments, inner: {**arguments, **inner, "class": name},
        names,
        st.dictionaries(text, plain_values, max_size=3),
        st.dictionaries(text, component_mappings, max_size=1),
    )
)
components = names | component_mappings
any_config = st.fixed_dictionaries(
    {},
    optional={
        "data": st.none() | text,
        "model": st.none() | components,
        "seed": st.none() | st.integers(0, 2**63 - 1),
        "epochs": st.integers(0, 10**12),
        "batch_size": st.integers(1, 10**6),
        "device": text,
        "precision": st.sampled_from(["float32", "bfloat16", "float16"]),
        "optimizer": components,
        "scheduler": st.none() | components,
        "experiment": st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,9}", fullmatch=True),
        "allow_dirty": st.booleans(),
        "training": st.fixed_dictionaries(
            {},
            optional={
                "clip_norm": st.none() | st.floats(0, exclude_min=True),
                "patience": st.integers(1, 9),
                "ema": st.none() | st.floats(0, 1, exclude_min=True, exclude_max=True),
            },
        ),
        "logging": st.fixed_dictionaries({}, optional={"tensorboard": st.booleans(), "every": st.integers(0, 9)}),
        "task": st.fixed_dictionaries(
            {},
            optional={
                "label_smoothing": st.floats(0, 1),
                "size": st.none() | st.tuples(st.integers(), st.integers()),
                "augment": st.lists(components, max_size=3),
                "loss": st.none() | components,
                "weights": st.lists(st.floats() | st.integers(-9, 9), max_size=3),
                "root": text,
                "start": plain_values,
            },
        ),
    },
)


def from_text(text: str) -> Config:
    document = read_text(text, "config.yaml")
    layer = Layer(document.values, lambda path: f"config.yaml:{document.line(path)}", document.problems)
    return resolve(READING, layers=[layer]).config


@given(any_config)
@settings(max_examples=150)
def test_the_resolved_configuration_reads_back_to_the_same_bytes(values: dict[str, Any]):
    config = resolve(READING, layers=[from_mapping(values, "here")]).config
    written = config.to_yaml()
    again = from_text(written)
    assert again.to_yaml() == written
    assert repr(again) == repr(config)
    assert digest(again) == digest(config)
