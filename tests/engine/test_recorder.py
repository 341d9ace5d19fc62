"""Every step is written once, in order, with its numbers; a loss that is no number ends the run by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepdiva.engine.fingerprint import batch_digest, loss_bits, step_digest
from deepdiva.engine.recorder import EpochSums, StepRecord, StepRecorder
from deepdiva.errors import RunFailed
from deepdiva.runs.events import read_events
from deepdiva.runs.lines import read_lines
from deepdiva.runs.run import Run

NAMES = [f"image-{place}" for place in range(20)]


def record(step: int, loss: float, *, size: int = 2, right: tuple[bool, ...] = (True, False)) -> StepRecord:
    return StepRecord(
        step=step,
        epoch=1,
        size=size,
        loss=torch.tensor(loss),
        measures={"accuracy": torch.tensor(right)},
        learning_rate=0.1,
        state=[step],
        batches=[np.arange(size, dtype=np.int64)],
        seconds=0.5,
        wall=1000.0 + step,
    )


@pytest.fixture
def run(make_run: Callable[[], Run]) -> Run:
    return make_run()


def events(run: Run) -> list[dict]:
    run.flush()
    return list(read_events(run.path / "events.jsonl"))


def fingerprints(run: Run) -> list[dict]:
    run.flush()
    return list(read_lines(run.path / "fingerprints.jsonl"))


def test_every_step_becomes_an_event_and_a_fingerprint(run: Run):
    recorder = StepRecorder(run, every=1, names=NAMES)
    for step in (1, 2):
        recorder.add(record(step, 0.5 / step))
    recorder.write()
    assert events(run)[1] == {
        "step": 2,
        "epoch": 1,
        "values": {
            "train/batch/loss": 0.25,
            "train/batch/accuracy": 0.5,
            "train/batch/learning_rate": 0.1,
            "system/step_seconds": 0.5,
        },
        "time": 1002.0,
    }
    batch = batch_digest([np.arange(2)])
    expected = {"step": 1, "loss": loss_bits(0.5), "batch": batch, "state": step_digest([1])}
    assert fingerprints(run)[0] == expected
    assert recorder.last_loss == 0.25


def test_blocks_make_no_difference(run: Run, make_run: Callable[[], Run]):
    one, many = StepRecorder(run, every=1, names=NAMES), StepRecorder(other := make_run(), every=1, names=NAMES)
    for step in range(1, 101):
        distance = torch.rand(step, generator=torch.Generator().manual_seed(step))
        if step % 9 == 0:  # a mean, as it comes from a step over several batches
            distance = distance.mean()
        some = record(step, step / 7)._replace(measures={"distance": distance})
        one.add(some)
        many.add(some)
        many.write()
    one.write()
    assert events(run) == events(other)
    assert fingerprints(run) == fingerprints(other)
    assert one.sums == many.sums


def test_a_full_block_is_written_by_itself(run: Run):
    recorder = StepRecorder(run, every=1, names=NAMES)
    for step in range(1, 65):
        recorder.add(record(step, 1.0))
    assert len(events(run)) == 64
    recorder.write()
    assert len(events(run)) == 64


@pytest.mark.parametrize(("every", "steps"), [(0, []), (1, [1, 2, 3, 4, 5, 6, 7]), (3, [3, 6])])
def test_fewer_events_but_all_fingerprints(run: Run, every: int, steps: list[int]):
    recorder = StepRecorder(run, every=every, names=NAMES)
    for step in range(1, 8):
        recorder.add(record(step, 1.0))
    recorder.write()
    assert [event["step"] for event in events(run)] == steps
    assert len(fingerprints(run)) == 7


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_names_step_and_samples(run: Run, loss: float):
    recorder = StepRecorder(run, every=1, names=NAMES)
    for step, value in enumerate([1.0, 0.5, loss, 0.1], start=1):
        recorder.add(record(step, value, size=10, right=(True,) * 10))
    with pytest.raises(RunFailed) as caught:
        recorder.write()
    assert f"the loss is {loss} at step 3 (epoch 1); the batch was: image-0, image-1" in str(caught.value)
    assert "image-7, … (10 samples)" in str(caught.value)
    assert [event["step"] for event in events(run)] == [1, 2, 3]
    assert len(fingerprints(run)) == 3


def test_a_digest_is_the_same_from_a_device_and_from_the_cpu(run: Run):
    recorder = StepRecorder(run, every=0, names=NAMES)
    recorder.add(record(1, 1.0)._replace(state=torch.arange(5).to(torch.uint64)))
    recorder.add(record(2, 1.0)._replace(state=torch.arange(5).flip(0).to(torch.uint64)))
    recorder.write()
    recorder.add(record(3, 1.0)._replace(state=list(range(5))))
    recorder.write()
    first, second, third = (line["state"] for line in fingerprints(run))
    assert first != second
    assert first == third == step_digest(range(5))  # wherever it was computed


@pytest.mark.parametrize(
    "accuracy", [torch.tensor([True, True, False, True]), torch.tensor(0.75), torch.tensor([1, 1, 0, 1.0]).bfloat16()]
)
def test_a_measure_comes_as_a_mean_or_with_a_number_a_sample(run: Run, accuracy: torch.Tensor):
    recorder = StepRecorder(run, every=1, names=NAMES)
    recorder.add(record(1, 1.0, size=4)._replace(measures={"accuracy": accuracy}))
    recorder.write()
    assert events(run)[0]["values"]["train/batch/accuracy"] == 0.75


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(-10, 10)), min_size=1, max_size=10))
def test_an_epoch_is_pooled_over_samples_not_over_batches(steps: list[tuple[int, float]]):
    sums = EpochSums()
    for size, value in steps:
        sums.add(size, {"loss": value})
    expected = np.average([value for _, value in steps], weights=[size for size, _ in steps])
    assert sums.means()["loss"] == pytest.approx(expected, abs=1e-12)
    assert EpochSums().means() == {}


def test_nothing_pending_writes_nothing(run: Run):
    StepRecorder(run, every=1, names=NAMES).write()
    assert not Path(run.path / "events.jsonl").exists() or events(run) == []
