"""Every setting that differs is named by its path; a component of another class is one difference."""

from __future__ import annotations

import pytest

from deepdiva.runs.config_differences import config_differences

CONFIG = """\
task: {class: image-classification, cache: auto, augment: [{class: flip, p: 0.5}, crop]}
data: digits
model: {class: mlp, hidden: [16, 16]}
seed: 1
epochs: 3
workers: 0
threads: 1
optimizer: {class: AdamW, lr: 0.01}
scheduler: null
logging: {every: 1, figures: none}
training: {init_from: null}
"""


@pytest.fixture
def changed(make_run):
    """What differs when a text of the configuration is replaced by another: path, both values, harmless."""

    def call(old="", new="", a=None, b=None):
        ours = make_run("a", a, files={"config.yaml": CONFIG})
        theirs = make_run("b", b, files={"config.yaml": CONFIG.replace(old, new)})
        return config_differences(ours, theirs)

    return call


def values(differences):
    return [(item.what, item.a, item.b) for item in differences]


def test_equal_settings(changed):
    assert changed() == []
    assert changed("scheduler: null\n", "") == []  # as good as null


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("lr: 0.01", "lr: 0.02", ("optimizer.lr", "0.01", "0.02")),
        ("epochs: 3", "epochs: 4", ("epochs", "3", "4")),
        ("[16, 16]", "[16, 32]", ("model.hidden.1", "16", "32")),
        ("[16, 16]", "[16]", ("model.hidden", "[16, 16]", "[16]")),
        ("p: 0.5", "p: 0.25", ("task.augment.0.p", "0.5", "0.25")),
        (", crop]", ", blur]", ("task.augment.1", "crop", "blur")),
        ("{class: AdamW, lr: 0.01}", "{class: SGD, momentum: 0.9}", ("optimizer", "AdamW", "SGD")),
        ("{class: AdamW, lr: 0.01}", "AdamW", ("optimizer.lr", "0.01", None)),
        ("scheduler: null", "scheduler: {class: StepLR}", ("scheduler", "null", "StepLR")),
        ("init_from: null", "init_from: runs/x", ("training.init_from", "null", "runs/x")),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_can_change_a_result(changed, old, new, expected):
    (found,) = changed(old, new)
    assert (found.what, found.a, found.b) == expected
    assert (found.kind, found.harmless) == ("config", False)


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("workers: 0", "workers: 2", "workers"),
        ("figures: none", "figures: end", "logging.figures"),
        ("cache: auto", "cache: none", "task.cache"),
        ("epochs: 3", "epochs: 3\nexperiment: other", "experiment"),
    ],
    ids=lambda value: value if isinstance(value, str) and "\n" not in value else None,
)
def test_what_cannot(changed, old, new, path):
    (found,) = changed(old, new)
    assert (found.what, found.harmless) == (path, True)


def test_the_arguments_of_another_class_are_told_beside_it(changed):
    (found,) = changed("{class: AdamW, lr: 0.01}", "{class: SGD, momentum: 0.9}")
    assert found.detail.splitlines() == ['A: {"class": "AdamW", "lr": 0.01}', 'B: {"class": "SGD", "momentum": 0.9}']


def test_a_list_with_more_in_it(changed):
    (found,) = changed(", crop]", ", crop, blur]")
    assert (found.what, found.detail) == ("task.augment", "only B: blur")


def test_the_number_of_threads_stands_with_the_environment(changed):
    assert changed("threads: 1", "threads: 2") == []


def test_a_seed_is_a_kind_of_its_own(changed):
    (found,) = changed("seed: 1", "seed: 2", {"seed": 1}, {"seed": 2})
    assert (found.kind, found.what, found.a, found.b) == ("seed", "seed", "1", "2")
    (found,) = changed(a={"seed": 1}, b={"seed": 2})  # as a loop of one's own records it
    assert (found.kind, found.a, found.b) == ("seed", "1", "2")


def test_another_path_to_the_same_data_is_harmless(changed):
    same = {"digests": {"data": "d"}}
    (found,) = changed("data: digits", "data: /elsewhere/digits", same, same)
    assert (found.what, found.harmless) == ("data", True)
    (found,) = changed("data: digits", "data: /elsewhere/digits", same, {"digests": {"data": "e"}})
    assert not found.harmless
    (found,) = changed("data: digits", "data: /elsewhere/digits")
    assert not found.harmless


def test_a_configuration_that_only_one_has(make_run):
    a, b = make_run("a", files={"config.yaml": CONFIG}), make_run("b")
    assert values(config_differences(a, b)) == [("config.yaml", "recorded", None)]
    assert config_differences(b, b) == []


@pytest.mark.parametrize(
    "odd", ["task: [1, {}]\n", "task: {class: {x: 1}}\n", "data: {class: [2]}\nseed: [1]\n", '"a\\e[2J": 1\n']
)
def test_a_strangers_settings_of_any_shape_are_survived(make_run, odd):
    a, b = make_run("a", files={"config.yaml": CONFIG}), make_run("b", files={"config.yaml": odd})
    assert all(item.what.isprintable() for item in [*config_differences(a, b), *config_differences(b, a)])
