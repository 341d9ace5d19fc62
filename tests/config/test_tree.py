"""The configuration is frozen, explains its mistakes, and has one digest for one experiment."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from pydantic import ValidationError

from deepdiva.config import Component, Config, Logging, Training, digest
from deepdiva.config.tree import GROUPS, shared_settings
from deepdiva.errors import UserErrors


def test_a_few_settings_are_enough_in_python():
    config = Config(task="points", epochs=3, optimizer={"class": "SGD", "lr": 0.1})
    assert config.task == Component("points")
    assert config.optimizer == Component("SGD", {"lr": 0.1})
    assert config.model_fields_set == {"task", "epochs", "optimizer"}
    assert config.training == Training()


def test_settings_of_the_task_stand_with_it(complaints):
    hint = "a task's own: task={'class': …, 'qqq': …}"
    assert complaints(lambda: Config(task="points", qqq=3)) == [f"qqq: there is no such setting ({hint})"]


def test_it_is_frozen():
    config = Config(task="points")
    with pytest.raises(ValidationError):
        config.epochs = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        config.training.patience = 3  # type: ignore[misc]


def test_all_mistakes_at_once_in_python(complaints):
    found = complaints(
        lambda: Config(
            epochs="3",
            epoch=3,
            seed=True,
            training={"patence": 3, "patience": 0},
            experiment="a/b",
            logging=3,
            model={"width": 3},
            precision="float23",
        )
    )
    assert found == [
        "task: a value is needed",
        "model: a component is a name such as `resnet18` or a mapping such as `{class: my_pkg.MyNet, width: 64}`, "
        "got {width: 3}",
        "seed: expected a whole number from 0 to 9223372036854775807, or null, got true",
        "epochs: expected a whole number of at least 0, got the text '3' "
        "(write the number without quotation marks, `_` and `,`)",
        "precision: expected one of float32, bfloat16, float16, got the text 'float23' (did you mean 'float32'?)",
        "experiment: expected a folder's name of letters, digits, `_`, `-` and `.`, got the text 'a/b'",
        "training.patience: expected a whole number of at least 1, or null, got 0",
        "training.patence: there is no such setting (did you mean 'training.patience'?)",
        "logging: expected settings, got 3",
        "epoch: there is no such setting (did you mean 'epochs'?)",
    ]


@pytest.mark.parametrize("seed", [0, 2**63 - 1, None])
def test_seeds(seed: int | None):
    assert Config(task="points", seed=seed).seed == seed


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "", "a b", "-x", "x\n"])
def test_an_experiment_is_the_name_of_one_folder(name: str):
    with pytest.raises(UserErrors, match="experiment: expected a folder's name"):
        Config(task="points", experiment=name)


def test_the_order_of_settings_is_fixed():
    mapping = Config(task="points", logging=Logging(every=5)).to_mapping()
    assert list(mapping)[:5] == ["task", "data", "model", "seed", "epochs"]
    assert list(mapping)[-2:] == ["training", "logging"]
    assert mapping["logging"]["every"] == 5


def test_components_are_replaced_by_path():
    config = Config(task={"class": "reading", "flip": True})
    replaced = config.with_components(
        {"model": Component("cnn", {"width": 3}), "task.loss": Component("L1Loss"), "task.augment": [Component("Flip")]}
    )
    assert replaced.model == Component("cnn", {"width": 3})
    assert replaced.task == Component("reading", {"flip": True, "loss": "L1Loss", "augment": ["Flip"]})
    assert config.model is None


@pytest.mark.parametrize(
    "other",
    [
        {"epochs": 11},
        {"seed": 1},
        {"model": "mlp"},
        {"model": {"class": "cnn", "width": 1}},
        {"task": {"class": "points", "noise": 0.1}},
        {"training": {"accumulate": 2}},
        {"threads": 2},
    ],
)
def test_the_digest_changes_with_what_can_change_results(other: dict[str, object]):
    same = {"task": "points", "model": "cnn"}
    assert digest(Config(**(same | other))) != digest(Config(**same))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [
        {"workers": 3}, {"runs_dir": "x"}, {"experiment": "x"}, {"allow_dirty": True}, {"logging": {"every": 0}},
        {"epochs": 10},
    ],
)  # fmt: skip
def test_the_digest_ignores_where_results_go(other: dict[str, object]):
    assert digest(Config(task="points", **other)) == digest(Config(task="points"))  # type: ignore[arg-type]


@pytest.mark.parametrize("keep", ["auto", "none"])
def test_the_digest_ignores_whether_decoded_images_are_kept(keep: str):
    def of(**settings: object) -> str:
        return digest(Config(task={"class": "image-classification", **settings}))  # type: ignore[arg-type]

    assert of(size=28, cache=keep) == of(size=28)
    assert of(size=28, cache=keep) != of(size=32, cache=keep)


def test_every_shared_setting_is_described():
    settings = shared_settings()
    assert [setting.path for setting in settings if not setting.description] == []
    assert {setting.group for setting in settings} == {"", *GROUPS}


def test_importing_the_configuration_loads_no_heavy_library():
    code = "import deepdiva.config, sys; print(sorted({'torch', 'numpy', 'torchvision', 'rich'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert answer.stdout.strip() == "[]"
