"""Which step a resumed run does again, from where, and what is found when it is not what it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from deepdiva.engine import checkpoint
from deepdiva.engine.replay import PARTS, Replay, Resumption, find_replay
from deepdiva.engine.trainer import Trainer
from deepdiva.runs.folder import RunFolder
from deepdiva.runs.lines import read_lines
from deepdiva.runs.run import Run

Make = Callable[..., Trainer]
SETTINGS: dict[str, Any] = {"epochs": 2, "training": {"checkpoint_every": 3, "ema": 0.9}}
Told = list[tuple[int, tuple[str, ...]]]


@pytest.fixture
def ended(make_trainer: Make, clouds: type) -> Trainer:
    """A training of eight steps with checkpoints at 0, 3, 4, 6 and 8, of which the two newest and the best remain."""
    trainer = make_trainer(clouds(trembling=True), **SETTINGS)
    trainer.fit()
    trainer.run.finish(KeyboardInterrupt())
    return trainer


def load(trainer: Trainer, step: int) -> checkpoint.Checkpoint:
    return checkpoint.load(checkpoint.folder(trainer.run.path / "checkpoints", step))


def resumed(make: Make, before: Trainer, step: int, task: Any, **settings: Any) -> tuple[Trainer, Told]:
    """A new trainer in the run of `before`, begun as a resume begins it, and what it told of the replay."""
    saved = load(before, step)
    replay = find_replay(RunFolder.open(before.run.path), saved)
    told: Told = []
    run = Run.reopen(before.run.path, positions=saved.training["logs"])
    trainer = make(task, run=run, **(SETTINGS | settings))
    Resumption(saved, replay, lambda replay, differing: told.append((replay.step, differing))).begin(trainer)
    return trainer, told


def test_the_step_after_the_checkpoint_is_the_one_where_it_was_recorded(ended: Trainer):
    replay = find_replay(RunFolder.open(ended.run.path), load(ended, 6))
    assert replay is not None
    assert (replay.step, replay.start) == (7, None)


def test_else_the_one_after_the_checkpoint_before(ended: Trainer):
    replay = find_replay(RunFolder.open(ended.run.path), load(ended, 8))
    assert replay is not None
    assert replay.start is not None
    assert (replay.step, replay.start.step) == (7, 6)


def test_a_broken_checkpoint_is_no_place_to_begin(ended: Trainer):
    directory = ended.run.path / "checkpoints"
    for step in checkpoint.steps(directory)[1:]:
        (checkpoint.folder(directory, step) / "manifest.json").unlink()
    assert find_replay(RunFolder.open(ended.run.path), load(ended, 8)) is None


@pytest.mark.parametrize("step", [6, 8])
def test_a_step_done_again_is_the_same_and_leaves_no_trace(make_trainer: Make, clouds: type, ended: Trainer, step: int):
    expected, path = ended.digests(), ended.run.path / "fingerprints.jsonl"
    before = path.read_bytes()
    trainer, told = resumed(make_trainer, ended, step, clouds(trembling=True))
    assert told == ([] if step == 6 else [(7, ())])
    trainer.fit()
    assert told == [(7, ())]
    assert trainer.digests() == expected
    trainer.run.flush()
    assert path.read_bytes() == before


@pytest.mark.parametrize("step", [6, 8])
def test_another_batch_or_another_loss_is_found(make_trainer: Make, clouds: type, ended: Trainer, step: int):
    trainer, told = resumed(make_trainer, ended, step, clouds(trembling=False))
    trainer.fit()
    assert told == [(7, ("loss", "state"))]


def test_other_weights_are_found(make_trainer: Make, clouds: type, ended: Trainer):
    def slower(model: torch.nn.Module) -> torch.optim.Optimizer:
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, fused=True)
        optimizer.register_step_pre_hook(lambda optimizer, *_: optimizer.param_groups[0].update(lr=0.04))
        return optimizer

    _, told = resumed(make_trainer, ended, 8, clouds(trembling=True), optimizer=slower)
    assert told == [(7, ("state",))]


def test_every_part_of_a_fingerprint_is_compared(ended: Trainer):
    stored = next(record for record in read_lines(Path(ended.run.path) / "fingerprints.jsonl") if "loss" in record)
    assert set(stored) == {"step", *PARTS}
    assert Replay(stored).differing(stored) == ()
    for part in PARTS:
        assert Replay(stored).differing({**stored, part: "0" * 16}) == (part,)
