"""One step on a copy finds what stands against a level, and leaves everything as it was."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepdiva.engine.alerts import Alert
from deepdiva.engine.call_sites import Site
from deepdiva.engine.fingerprint import state_digest
from deepdiva.engine.rehearsal import Rehearsal, rehearse
from deepdiva.engine.seeding import Streams
from deepdiva.errors import UserErrors

ALERT = Alert("put_", Site("forward", "head", "net.py:7: x.put_(i, y)"), "index_put_ with unique indices")


class Putting(nn.Module):
    """Scores in which one number was put by an operation without a deterministic form."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        scores = self.network(inputs)
        return scores + torch.zeros_like(scores).put_(torch.tensor([0]), torch.tensor([0.5]))


@pytest.fixture
def try_step(clouds: Any) -> Callable[..., Rehearsal]:
    """Rehearses the clouds with a model."""

    def call(model: nn.Module, task: Any = None) -> Rehearsal:
        task = task or clouds(trembling=True)
        return rehearse(
            task,
            model,
            task.load_data(None).train,
            batch_size=8,
            create_optimizer=lambda m: torch.optim.AdamW(m.parameters(), fused=True),
            context=contextlib.nullcontext(),
            streams=Streams(0),
            device=torch.device("cpu"),
        )

    return call


def test_a_plain_step_passes(try_step: Any, make_network: Any):
    found = try_step(make_network())
    assert found.passed
    assert (found.random, found.by_processor, found.skipped) == ((), (), None)
    assert 0 < found.seconds < 5
    for level in ("seeded", "repeatable", "invariant", "portable"):
        found.require(level)


def test_an_operation_without_a_deterministic_form_is_named_with_what_to_use_instead(try_step: Any, make_network: Any):
    found = try_step(Putting(make_network()))
    assert not found.passed
    assert found.to_mapping()["operations"] == [str(alert) for alert in found.random]
    found.require("seeded")
    with pytest.raises(UserErrors) as caught:
        found.require("repeatable")
    text = str(caught.value)
    assert "put_" in text
    assert "test_rehearsal.py" in text
    assert "index_put_" in text
    assert "--determinism seeded" in text


def test_all_operations_are_named_at_once():
    other = Alert("histc", Site("backward", "", ""), None)
    with pytest.raises(UserErrors) as caught:
        Rehearsal(random=(ALERT, other)).require("invariant")
    assert "put_ in head, net.py:7" in str(caught.value)
    assert "histc (backward)" in str(caught.value)


@pytest.mark.parametrize("strict", [True, False])
def test_nothing_is_changed_by_it(strict: bool, try_step: Any, make_network: Any):
    torch.use_deterministic_algorithms(strict)
    model = make_network().eval()
    before = state_digest(model.state_dict())
    generators = torch.get_rng_state(), random.getstate(), np.random.get_state()
    assert try_step(model).passed
    assert state_digest(model.state_dict()) == before
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert random.getstate() == generators[1]
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), generators[2], strict=True))
    assert torch.are_deterministic_algorithms_enabled() == strict


def test_what_goes_wrong_is_left_for_the_training_to_say(try_step: Any):
    found = try_step(nn.Linear(5, 2))
    assert not found.passed
    assert found.skipped is not None
    assert found.skipped.startswith("RuntimeError: mat1 and mat2 shapes")
    found.require("portable")


def test_a_model_that_cannot_be_copied_is_not_rehearsed(try_step: Any):
    model = nn.Linear(4, 2)
    model.stream = (number for number in range(3))  # type: ignore[assignment]
    found = try_step(model)
    assert found.skipped is not None
    assert found.skipped.startswith("the model cannot be copied: ")


def test_a_compiled_model_is_rehearsed_as_it_was_written(try_step: Any, make_network: Any):
    model = make_network()
    model.compile(backend="eager")
    found = try_step(model)
    assert found.passed
    assert [str(alert) for alert in found.by_processor] == ["torch.compile"]  # compiled for this processor
