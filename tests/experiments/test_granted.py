"""A level is granted after checks of the data and of the first step; the numbers of the machine are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import IterableDataset

from deepdiva import RunFolder
from deepdiva.engine.task import DataSplits
from deepdiva.errors import UserError, UserErrors
from deepdiva.experiments.granted import check_positions
from deepdiva.runs.numerics import read

NETWORK = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, in_features: int, num_classes: int, how: str = "plain"):
        super().__init__()
        self.how = how
        self.layer = nn.Linear(in_features, num_classes)

    def forward(self, inputs):
        scores = self.layer(inputs)
        if self.how == "put":
            scores = scores + torch.zeros_like(scores).put_(torch.tensor([0]), torch.tensor([0.5]))
        if self.how == "root":
            scores = torch.sqrt(scores.abs() + 1)
        return scores
"""


@pytest.fixture
def run_net(run_task: Callable[..., RunFolder]) -> Callable[..., RunFolder]:
    Path("net.py").write_text(NETWORK)
    return lambda how, **more: run_task(epochs=1, model={"class": "net.py:Net", "how": how}, **more)


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(8))


class OnlyIterable:
    def __iter__(self) -> Iterator[int]:
        return iter(range(8))


@pytest.mark.parametrize("split", [Stream(), OnlyIterable(), iter([1, 2])], ids=["torch", "own", "iterator"])
def test_samples_without_a_position_are_refused_with_the_reason_and_the_way_out(split: Any):
    with pytest.raises(UserError, match=r"the val split .* have no position") as caught:
        check_positions(DataSplits([1], split, None))
    assert "__getitem__(index)" in str(caught.value)
    assert "resume" in str(caught.value)


def test_all_splits_are_named_at_once():
    with pytest.raises(UserErrors) as caught:
        check_positions(DataSplits(OnlyIterable(), [], Stream()))  # type: ignore[arg-type]
    assert len(caught.value.problems) == 3
    check_positions(DataSplits([1], [2], None))


def test_an_operation_without_a_deterministic_form_ends_the_run_before_it_begins(run_net: Any):
    with pytest.raises(UserError) as caught:
        run_net("put")
    text = str(caught.value)
    assert "put_" in text
    assert "net.py:15" in text
    assert "instead: index_put_" in text
    assert "--determinism seeded" in text
    assert not list(Path("runs").glob("*/*"))


def test_the_lowest_level_only_records_it(run_net: Any):
    run = run_net("put", determinism="seeded")
    assert run.status == "completed"
    rehearsal = run.record["determinism"]["rehearsal"]
    assert not rehearsal["passed"]
    assert "put_" in rehearsal["operations"][0]


def test_a_step_that_passes_is_recorded_and_changes_nothing(run_net: Any, monkeypatch: pytest.MonkeyPatch):
    rehearsed = run_net("plain")
    assert rehearsed.record["determinism"]["rehearsal"]["passed"]
    monkeypatch.setattr("deepdiva.experiments.train.rehearse_first_step", lambda *_, **__: None)
    without = run_net("plain")
    assert rehearsed.digests["state"] == without.digests["state"]
    assert rehearsed.digests["metrics"] == without.digests["metrics"]


def test_a_root_takes_back_the_promise_for_other_processors_only(run_net: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("deepdiva.engine.determinism.late_variables", lambda level: ())
    monkeypatch.setattr("deepdiva.engine.determinism._obstacles", lambda *_, **__: [])
    assert run_net("plain", determinism="portable").record["determinism"]["granted"] == "portable"
    levels = run_net("root", determinism="portable").record["determinism"]
    assert levels["granted"] == "invariant"
    assert "torch.sqrt" in levels["reasons"][0]
    assert "net.py:17" in levels["reasons"][0]
    assert levels["rehearsal"]["passed"]


def test_every_finished_run_keeps_its_numeric_fingerprint(run_net: Any):
    run = run_net("plain")
    found = read(run)
    assert found is not None
    assert found["digest"] == run.digests["numerics"]
    assert found["settings"]["threads"] == 1
    assert len(found["operations"]) > 300


def test_what_was_rehearsed_is_not_rehearsed_again_on_a_resume(run_task: Any, monkeypatch: pytest.MonkeyPatch):
    from deepdiva.engine.trainer import Trainer
    from deepdiva.experiments.resume import resume

    def end(self: Trainer, *words: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_end_epoch", end)
        with pytest.raises(KeyboardInterrupt):
            run_task(epochs=1)
    (path,) = Path("runs").glob("*/*/run.json")
    monkeypatch.setattr("deepdiva.engine.rehearsal.rehearse", lambda *_, **__: pytest.fail("rehearsed again"))
    assert resume(path.parent).status == "completed"
