"""What all tasks with one class a sample share, held against scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle
from torch import nn

from deepdiva.config import Component
from deepdiva.data.arrays import Arrays
from deepdiva.engine.task import DataSplits, Evaluation
from deepdiva.errors import UserError
from deepdiva.tasks.classification import Classification, confusion, probabilities, truth_and_guess

CLASSES = ("ant", "bee", "cat", "dog")


def evaluation(scores: torch.Tensor, targets: torch.Tensor, split: str = "test") -> Evaluation:
    data = DataSplits([], [], classes=CLASSES[: scores.shape[1]])
    ids = [str(place) for place in range(len(targets))]
    return Evaluation(split, 1, 0.5, {"scores": scores, "target": targets}, [], data, ids)


def drawn(seed: int, *, size: int = 60, classes: int = 4) -> Evaluation:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, classes, (size,), generator=generator)
    scores = torch.randn(size, classes, generator=generator) + nn.functional.one_hot(targets, classes)
    return evaluation(scores, targets)


@given(st.integers(0, 1000), st.integers(1, 50), st.integers(2, 4))
def test_metrics_are_those_of_scikit_learn(seed: int, size: int, classes: int):
    passed = drawn(seed, size=size, classes=classes)
    truth, guess = truth_and_guess(passed)
    found = Classification().metrics(passed)
    assert found["accuracy"] == pytest.approx(oracle.accuracy_score(truth, guess))
    present = np.unique(truth)
    recall = oracle.recall_score(truth, guess, labels=present, average="macro")
    assert found["balanced_accuracy"] == pytest.approx(recall)
    f1 = oracle.f1_score(truth, guess, labels=present, average="macro")
    assert found["macro_f1"] == pytest.approx(f1)
    largest = oracle.accuracy_score(truth, np.full_like(truth, np.bincount(truth).argmax()))
    assert found["largest_class_accuracy"] == pytest.approx(largest)


def test_balanced_accuracy_is_the_usual_one():
    passed = drawn(3, size=200)
    truth, guess = truth_and_guess(passed)
    expected = oracle.balanced_accuracy_score(truth, guess)
    assert Classification().metrics(passed)["balanced_accuracy"] == pytest.approx(expected)


def test_validation_measures_only_what_decides():
    passed = replace(drawn(0), split="val")
    assert set(Classification().metrics(passed)) == {"accuracy"}


@given(st.integers(0, 1000), st.integers(1, 50))
def test_the_confusion_matrix_is_that_of_scikit_learn(seed: int, size: int):
    passed = drawn(seed, size=size)
    truth, guess = truth_and_guess(passed)
    assert (confusion(passed) == oracle.confusion_matrix(truth, guess, labels=range(4))).all()


@given(st.integers(0, 1000), st.floats(0, 80))
def test_probabilities_sum_to_one(seed: int, scale: float):
    passed = drawn(seed)
    shares = probabilities(evaluation(passed.outputs["scores"] * scale, passed.outputs["target"]))
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-5)
    assert (shares >= 0).all()


def test_scores_in_half_precision_give_probabilities_too():
    passed = drawn(0)
    half = evaluation(passed.outputs["scores"].bfloat16(), passed.outputs["target"])
    np.testing.assert_allclose(probabilities(half).sum(axis=1), 1.0, rtol=1e-5)
    assert 0 <= Classification().metrics(half)["accuracy"] <= 1


def test_predictions_name_classes_and_give_the_share_of_the_guess():
    passed = evaluation(torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 5.0]]), torch.tensor([1, 2]))
    found = Classification().predictions(passed)
    assert found["truth"] == ["bee", "cat"]
    assert found["prediction"] == ["ant", "cat"]
    assert found["probability"] == pytest.approx(torch.tensor([[2.0, 0, 0], [0, 0, 5.0]]).softmax(1).amax(1).tolist())


def test_the_confusion_matrix_is_drawn():
    image = Classification().figures(nn.Identity(), drawn(0))["confusion"]
    assert image.size[0] > 50


# -- the loss -----------------------------------------------------------------------------------------------------


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    passed = drawn(7)
    return passed.outputs["scores"], passed.outputs["target"]


def test_a_step_gives_loss_scores_and_who_is_right():
    scores, targets = batch()
    output = Classification().step(nn.Identity(), (scores.requires_grad_(), targets))
    assert output.loss.item() == pytest.approx(nn.functional.cross_entropy(scores, targets).item())
    assert output.size == 60
    assert torch.equal(output.measures["accuracy"], scores.argmax(1) == targets)
    assert not output.outputs["scores"].requires_grad


def test_any_loss_of_torch_will_do():
    inputs, targets = batch()
    losses = {
        "multi_margin_loss": nn.functional.multi_margin_loss(inputs, targets),
        "CrossEntropyLoss": nn.functional.cross_entropy(inputs, targets, label_smoothing=0.3),
    }
    for name, expected in losses.items():
        arguments = {"label_smoothing": 0.3} if name == "CrossEntropyLoss" else {}
        task = Classification(loss=Component(name, arguments))
        assert task.step(nn.Identity(), (inputs, targets)).loss.item() == pytest.approx(expected.item())


def splits(targets: list[int]) -> Any:
    arrays = Arrays(torch.zeros(len(targets), 4), torch.tensor(targets))
    return SimpleNamespace(
        train=arrays, val=arrays, test=None, classes=CLASSES, footprints=(), membership={}, statistics={"mean": [0.0]}
    )


def test_balanced_weights_let_every_class_count_the_same():
    task = Classification(class_weights="balanced")
    data = task._splits(splits([0] * 6 + [1] * 2 + [2] * 2 + [3] * 2), {"in_features": 4})
    assert data.supplies == {"num_classes": 4, "in_features": 4}
    weights = task.statistics["class_weights"]
    assert [weight * count for weight, count in zip(weights, (6, 2, 2, 2), strict=True)] == pytest.approx([3.0] * 4)
    inputs, targets = batch()
    expected = nn.functional.cross_entropy(inputs, targets, weight=torch.tensor(weights), reduction="sum") / len(
        targets
    )
    assert task.step(nn.Identity(), (inputs, targets)).loss.item() == pytest.approx(expected.item())
    assert "class_weights" not in Classification()._splits(splits([0]), {}).supplies


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "MultiMarginLoss"])
def test_a_weighted_mean_over_an_epoch_is_the_same_in_batches_of_any_size(name: str):
    task = Classification(loss=Component(name), class_weights="balanced")
    task._splits(splits([0] * 6 + [1] * 2 + [2] * 2 + [3] * 2), {})
    found = drawn(3, size=24)
    scores, targets = found.outputs["scores"], found.outputs["target"]
    whole = task.step(nn.Identity(), (scores, targets)).loss.item()
    for size in (1, 5, 7):
        steps = [task.step(nn.Identity(), batch) for batch in zip(scores.split(size), targets.split(size), strict=True)]
        pooled = sum(step.loss.item() * step.size for step in steps) / 24
        assert pooled == pytest.approx(whole, rel=1e-6)


def test_a_loss_that_takes_no_weights_is_refused_with_them():
    task = Classification(loss=Component(f"{__file__}:Squares"), class_weights="balanced")
    task._splits(splits([0, 1, 2, 3]), {})
    with pytest.raises(UserError, match="takes no class weights"):
        task.step(nn.Identity(), batch())


def test_a_loss_that_nothing_would_train_is_refused():
    task = Classification(loss=Component(f"{__file__}:Learnable"))
    with pytest.raises(UserError, match="has parameters, which nothing would train"):
        task.step(nn.Identity(), batch())


class Squares(nn.Module):
    """A loss without weights."""

    def forward(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (scores.softmax(1) - nn.functional.one_hot(targets, 4)).square().sum(1).mean()


class Learnable(Squares):
    """A loss with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))


# -- asking the model ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_asking_leaves_no_trace(training: bool):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    inputs = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    shares = Classification().ask(model, inputs, "cpu")
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-5)
    assert (shares == Classification().ask(model, inputs, "cpu")).all()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training is training


def test_a_subclass_prepares_its_inputs_in_one_place():
    class Doubled(Classification):
        def prepare(self, model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
            return inputs * 2

    prepare: Callable[..., torch.Tensor] = Doubled().prepare
    inputs, targets = batch()
    assert torch.equal(Doubled().step(nn.Identity(), (inputs, targets)).outputs["scores"], prepare(None, inputs))
    expected = (inputs * 2).softmax(1).numpy()
    np.testing.assert_allclose(Doubled().ask(nn.Identity(), inputs.numpy(), "cpu"), expected, rtol=1e-6)
