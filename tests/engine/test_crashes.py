"""Whatever call to the disk fails, or is the last one of its process: a training goes on to the same bits and logs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.runs.conftest import FaultySystem, Killed

from deepdiva.engine import checkpoint
from deepdiva.engine.trainer import Trainer
from deepdiva.errors import UserError
from deepdiva.runs.lines import read_lines
from deepdiva.runs.record import amend
from deepdiva.runs.run import Run
from deepdiva.runs.storage import Storage

SETTINGS: dict[str, Any] = {"batch_size": 16, "epochs": 1, "training": {"checkpoint_every": 1, "ema": 0.9}}
Attempt = Callable[..., tuple[str, FaultySystem]]


def bits(run: Path, digests: dict[str, str], results: dict[str, float]) -> str:
    """All of a finished training that must be the same, however it got there."""
    events = [
        [event["step"], {tag: value for tag, value in event["values"].items() if not tag.startswith("system/")}]
        for event in read_lines(run / "events.jsonl")
    ]
    kept = {step: checkpoint.load(path).training["digests"] for step, path in checkpoints(run)}
    prints = (run / "fingerprints.jsonl").read_text(), (run / "predictions" / "test.csv").read_text()
    return json.dumps([events, kept, prints, digests, results])


def checkpoints(run: Path) -> list[tuple[int, Path]]:
    directory = run / "checkpoints"
    return [(step, checkpoint.folder(directory, step)) for step in checkpoint.steps(directory)]


@pytest.fixture
def attempt(make_trainer: Callable[..., Trainer], make_run: Callable[[], Run], clouds: type) -> Attempt:
    """Trains on a disk that fails once, resumes until it is done, and gives the bits and the disk."""

    def finish(trainer: Trainer) -> str:
        with trainer.run:
            trainer.fit()
            results = trainer.test()
        return bits(trainer.run.path, trainer.digests(), results)

    def call(at: int = -1, fault: str = "kill") -> tuple[str, FaultySystem]:
        run, system = make_run(), FaultySystem(at, fault)
        made = Run(run.path, Storage(system), None)
        try:
            return finish(make_trainer(clouds(trembling=True), run=made, **SETTINGS)), system
        except (Killed, UserError):
            pass
        amend(run.path, status="failed")  # the process that it names is this one, and lives
        saved, _ = checkpoint.load_newest(run.path / "checkpoints")
        again = Run.reopen(run.path, positions=None if saved is None else saved.training["logs"])
        trainer = make_trainer(clouds(trembling=True), run=again, **SETTINGS)
        if saved is not None:
            trainer.restore(saved)
        return finish(trainer), system

    return call


@pytest.mark.slow
@pytest.mark.parametrize("faults", [("kill",), ("short", "ENOSPC", "EIO")], ids=" ".join)
def test_a_fault_at_every_single_call_costs_no_bit(attempt: Attempt, faults: tuple[str, ...]):
    expected, system = attempt()
    calls = system.count
    assert calls > 100
    for at in range(calls):
        fault = faults[at % len(faults)]
        found, _ = attempt(at, fault)
        assert found == expected, f"{fault} at call {at} of {calls}"
