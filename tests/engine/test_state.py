"""What a training changes: a step moves all of it, a checkpoint holds all of it, and its digests see all of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from deepdiva.engine import checkpoint
from deepdiva.engine.schedule import Schedule
from deepdiva.engine.state import Position, TrainingState
from deepdiva.errors import UserError
from deepdiva.runs.storage import Storage


def make(*, clip_norm: float | None = None, half: bool = False, decay: float | None = None) -> TrainingState:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = Schedule(torch.optim.lr_scheduler.StepLR(optimizer, 2), "step")
    scaler = torch.amp.GradScaler("cpu", enabled=half)
    return TrainingState(model, optimizer, schedule, scaler, clip_norm=clip_norm, decay=decay)


def train(state: TrainingState, steps: int) -> None:
    for number in range(steps):
        inputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(number))
        state.backward(state.model(inputs).square().mean())
        state.update()


def flat(state: TrainingState) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in state.model.parameters()])


def saved(state: TrainingState, directory: Path) -> checkpoint.Checkpoint:
    path = checkpoint.save(directory, state.position.step, state.model, state.rest(), Storage())
    return checkpoint.load(path)


def test_a_step_moves_the_model_the_schedule_and_the_position():
    state = make()
    before = flat(state)
    train(state, 3)
    assert not torch.equal(flat(state), before)
    assert all(weight.grad is None for weight in state.model.parameters())
    assert state.position == Position(step=3, step_in_epoch=3)
    assert state.optimizer.param_groups[0]["lr"] == 0.1 * 0.1


def test_gradients_of_several_losses_are_added():
    once, twice = make(), make()
    inputs = torch.randn(16, 4)
    once.backward(once.model(inputs).square().mean() * 2)
    for _ in range(2):
        twice.backward(twice.model(inputs).square().mean())
    for a, b in zip(once.model.parameters(), twice.model.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(a.grad, b.grad)


def test_no_gradient_is_longer_than_the_limit():
    state = make(clip_norm=0.01)
    before = flat(state)
    train(state, 1)
    torch.testing.assert_close((flat(state) - before).norm(), torch.tensor(0.001), rtol=1e-3, atol=0)


def test_what_a_checkpoint_holds_goes_on_to_the_same_bits(tmp_path: Path):
    for half, decay in ((False, None), (True, None), (False, 0.9)):
        whole = make(half=half, decay=decay)
        train(whole, 2)
        kept = saved(whole, tmp_path / f"{half}-{decay}")
        other = make(half=half, decay=decay)
        train(other, 1)
        other.restore(kept)
        assert other.digests() == whole.digests()
        assert other.position == whole.position
        train(whole, 3)
        train(other, 3)
        assert other.digests() == whole.digests()


def test_a_checkpoint_without_a_moving_average_cannot_continue_one(tmp_path: Path):
    kept = saved(make(), tmp_path)
    assert kept.evaluated is kept.model
    with pytest.raises(UserError, match="holds no moving average"):
        make(decay=0.9).restore(kept)


def test_the_digests_see_every_part():
    state = make(half=True, decay=0.9)
    train(state, 2)
    first = state.digests()
    state.optimizer.param_groups[0]["lr"] = 0.3
    rate = state.digests()
    assert rate["weights"] == first["weights"]
    assert rate["state"] != first["state"]
    state.scaler.update(1024.0)
    scale = state.digests()
    assert scale["state"] != rate["state"]
    with torch.no_grad():
        state.evaluated.get_parameter("0.bias").add_(1)
    average = state.digests()
    assert average["weights"] == first["weights"]
    assert average["state"] != scale["state"]
    with torch.no_grad():
        state.model.get_buffer("1.running_mean").add_(1)
    assert state.digests()["weights"] != first["weights"]
