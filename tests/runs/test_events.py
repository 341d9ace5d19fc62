"""Events: written to truth and mirror, read by tag, digested without what may differ."""

from __future__ import annotations

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from deepdiva.runs.events import EventLog, metrics_digest, read_events, series
from deepdiva.runs.storage import Storage
from deepdiva.runs.tensorboard import Mirror


def event(step, time=0.0, epoch=0, **values):
    return {"step": step, "epoch": epoch, "time": time, "values": values}


def write(path, *events):
    log = EventLog(path, Storage())
    log.append(events)
    log.sync()
    return path


@pytest.fixture
def path(tmp_path):
    return write(
        tmp_path / "events.jsonl", event(1, loss=3.0), event(2, loss=2.0, acc=0.5), event(3, acc=0.75), event(3, lr=0.1)
    )


def test_reading_all_or_one_tag(path):
    assert [found["step"] for found in read_events(path)] == [1, 2, 3, 3]
    assert [found["step"] for found in read_events(path, "acc")] == [2, 3]
    assert series(path, "loss") == ([1, 2], [3.0, 2.0])


def test_a_run_without_events(tmp_path):
    assert list(read_events(tmp_path / "events.jsonl")) == []
    assert metrics_digest(tmp_path / "events.jsonl") == metrics_digest(write(tmp_path / "empty"))


def test_truth_and_mirror_hold_the_same(tmp_path):
    log = EventLog(tmp_path / "events.jsonl", Storage(), Mirror(tmp_path / "tensorboard"))
    log.append([event(step, loss=step / 4) for step in range(9)])
    log.flush()
    points = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("loss")
    assert ([point.step for point in points], [point.value for point in points]) == series(
        tmp_path / "events.jsonl", "loss"
    )


def test_the_digest_forgets_times_blocks_and_measures_of_the_machine(tmp_path):
    digest = metrics_digest(write(tmp_path / "a", event(1, loss=0.5), event(2, loss=0.25)))
    log = EventLog(tmp_path / "b", Storage())
    log.append([event(1, time=99.5, **{"loss": 0.5, "system/seconds": 1.0})])
    log.append([event(1, time=99.5, **{"system/memory": 7.0}), event(2, loss=0.25)])
    log.sync()
    assert metrics_digest(tmp_path / "b") == digest


@pytest.mark.parametrize(
    "other",
    [
        [event(1, loss=0.5)],
        [event(2, loss=0.25), event(1, loss=0.5)],
        [event(1, loss=0.5), event(2, loss=0.2500000000000001)],
        [event(1, loss=0.5), event(3, loss=0.25)],
        [event(1, loss=0.5), event(2, loss=0.25, epoch=1)],
        [event(1, loss=0.5), event(2, accuracy=0.25)],
        [event(1, loss=0.5), event(2, loss=0.25), event(3, loss=float("nan"))],
    ],
)
def test_the_digest_sees_every_other_difference(tmp_path, other):
    same = metrics_digest(write(tmp_path / "a", event(1, loss=0.5), event(2, loss=0.25)))
    assert metrics_digest(write(tmp_path / "b", *other)) != same
