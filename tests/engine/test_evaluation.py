"""A pass without learning: pooled over samples, and without a trace in the model or the randomness."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import nn

from deepdiva.engine.evaluation import deciding, evaluate, score_of
from deepdiva.engine.fingerprint import state_digest
from deepdiva.engine.loaders import Loader
from deepdiva.engine.seeding import Streams
from deepdiva.engine.task import Evaluation, StepOutput, Task
from deepdiva.errors import UserError

Pass = Callable[..., Evaluation]


@pytest.fixture
def run_pass(clouds: type) -> Pass:
    def call(model: nn.Module, task: Task | None = None, *, batch_size: int = 5, epoch: int = 0) -> Evaluation:
        task, streams, device = task or clouds(), Streams(0), torch.device("cpu")
        data = task.load_data(None)
        loader = Loader(data.val, batch_size=batch_size, streams=streams, device=device, workers=0, purpose="val")
        context = contextlib.nullcontext()
        return evaluate(task, model, loader, data, epoch=epoch, streams=streams, context=context, device=device)

    return call


@pytest.fixture
def model(make_network: Callable[..., nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make_network()


def test_loss_and_metrics_are_those_of_the_whole_split(run_pass: Pass, model: nn.Module):
    found = run_pass(model)  # 16 samples in batches of 5: the last one is smaller
    samples = found.samples
    scores = model.eval()(samples.inputs)
    assert found.loss == pytest.approx(nn.functional.cross_entropy(scores, samples.targets).item(), rel=1e-6)
    assert torch.equal(found.outputs["right"], scores.argmax(1) == samples.targets)
    assert found.split == "val"
    assert found.ids == samples.ids
    assert score_of(Task(), found) == {"loss": found.loss}


def test_the_size_of_the_batches_does_not_matter(run_pass: Pass, model: nn.Module):
    one, other = run_pass(model, batch_size=16), run_pass(model, batch_size=3)
    assert one.loss == pytest.approx(other.loss, rel=1e-6)
    assert torch.equal(one.outputs["right"], other.outputs["right"])


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(run_pass: Pass, model: nn.Module, training: bool):
    model.train(training)
    before = state_digest(model.state_dict())
    run_pass(model)
    assert model.training is training
    assert state_digest(model.state_dict()) == before
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_a_step_draws_depends_on_epoch_and_place_alone(run_pass: Pass, model: nn.Module, clouds: type):
    @dataclass(frozen=True)
    class Noisy(clouds):  # type: ignore[misc]
        def step(self, model: nn.Module, batch: Any) -> StepOutput:
            output = super().step(model, batch)
            return replace(output, outputs={"noise": torch.rand(output.size), **output.outputs})

    torch.manual_seed(1)
    first = run_pass(model, Noisy())
    torch.manual_seed(2)
    assert torch.equal(first.outputs["noise"], run_pass(model, Noisy()).outputs["noise"])
    assert not torch.equal(first.outputs["noise"], run_pass(model, Noisy(), epoch=1).outputs["noise"])
    assert len(first.outputs["noise"].unique()) == 16


def test_outputs_that_are_lists_are_joined(run_pass: Pass, model: nn.Module, clouds: type):
    @dataclass(frozen=True)
    class Worded(clouds):  # type: ignore[misc]
        def step(self, model: nn.Module, batch: Any) -> StepOutput:
            output = super().step(model, batch)
            return replace(output, outputs={"words": [f"{float(x):.3f}" for x in batch[0][:, 0]]})

    found = run_pass(model, Worded())
    assert found.outputs["words"] == [f"{float(x):.3f}" for x in found.samples.inputs[:, 0]]


def test_an_error_leaves_the_model_in_its_mode(run_pass: Pass, model: nn.Module, clouds: type):
    @dataclass(frozen=True)
    class Broken(clouds):  # type: ignore[misc]
        def step(self, model: nn.Module, batch: Any) -> StepOutput:
            raise LookupError

    with pytest.raises(LookupError):
        run_pass(model.train(), Broken())
    assert model.training


def test_a_pass_ends_where_the_check_says_so(clouds: type, make_network: Callable[[], nn.Module]):
    task, streams, device, model = clouds(), Streams(0), torch.device("cpu"), make_network()
    data = task.load_data(None)
    loader = Loader(data.val, batch_size=5, streams=streams, device=device, workers=0, purpose="val")
    asked = iter([None, None, LookupError("enough")])

    def check() -> None:
        answer = next(asked)
        if answer is not None:
            raise answer

    context = contextlib.nullcontext()
    with pytest.raises(LookupError, match="enough"):
        evaluate(task, model, loader, data, epoch=0, streams=streams, context=context, device=device, check=check)
    assert model.training


def test_a_score_that_the_metrics_do_not_give_is_named(clouds: type):
    assert deciding(clouds(), {"loss": 0.5, "accuracy": 0.75}) == 0.75
    with pytest.raises(UserError, match="the task's score is 'accuracy'"):
        deciding(clouds(), {"loss": 0.5, "acuracy": 0.75})
