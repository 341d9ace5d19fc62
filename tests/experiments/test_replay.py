from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepdiva import RunFolder
from deepdiva.experiments import fresh, replay
from deepdiva.experiments.checkout import checkout
from deepdiva.experiments.fresh import Request
from deepdiva.experiments.replay import World, own_variables, steps_of


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Repeats in this process, and keeps what it was asked for."""
    asked: list[Request] = []

    def train(request: Request, progress: Any) -> RunFolder:
        asked.append(request)
        return fresh._train(request)

    monkeypatch.setattr(replay, "train_fresh", train)
    return asked


def test_a_step_is_repeated_from_the_checkpoint_before_it(
    run_task: Callable[..., RunFolder], requests: list[Request], tmp_path: Path
) -> None:
    run = run_task(epochs=3)
    with checkout(run) as code:
        world = World.of(run, code)
        late = replay.replay(world, 14, tmp_path / "replays", trace=True)
        early = replay.replay(world, 2, tmp_path / "replays")
        whole = replay.replay(world, 14, tmp_path / "replays", whole=True)
    assert [request.start and Path(request.start).name for request in requests] == ["step-00000012", None, None]
    assert set(late.fingerprints) == {13, 14}
    assert set(early.fingerprints) == {1, 2}
    assert len(whole.fingerprints) == 14
    assert all(one.agrees_with(run) for one in (late, early, whole))
    assert late.recording is not None
    assert late.recording.operations
    assert late.samples is not None
    assert len(late.samples) == 8
    assert early.recording is None


def test_the_samples_of_the_step_are_named(
    run_task: Callable[..., RunFolder], requests: list[Request], tmp_path: Path
) -> None:
    run = run_task(epochs=1)
    with checkout(run) as code:
        found = replay.replay(World.of(run, code), 1, tmp_path, trace=True).samples
        other = replay.replay(World.of(run, code).with_setting("seed", 1), 1, tmp_path, trace=True).samples
    assert found is not None
    assert other is not None
    assert all(name.startswith("cloud-") for name in found)
    assert found != other


def test_variables_that_are_others_now_are_put_back(
    run_task: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKL_VERBOSE", "0")
    run = run_task(epochs=1)
    assert "MKL_VERBOSE" not in own_variables(run)
    monkeypatch.delenv("MKL_VERBOSE")
    monkeypatch.setenv("NPY_PROMOTION_STATE", "weak")
    changed = own_variables(run)
    assert changed["MKL_VERBOSE"] == "0"
    assert changed["NPY_PROMOTION_STATE"] is None


def test_fingerprints_of_epochs_are_no_steps(run_task: Callable[..., RunFolder]) -> None:
    assert list(steps_of(run_task(epochs=1))) == list(range(1, 7))
