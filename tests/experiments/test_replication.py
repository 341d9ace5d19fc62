from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepdiva.config.yaml_writer import write
from deepdiva.data.footprint import Entry, Footprint
from deepdiva.errors import RunFailed, UserError
from deepdiva.experiments import replication
from deepdiva.experiments.fresh import Request
from deepdiva.experiments.preparation import Silence
from deepdiva.experiments.replication import Effort, check, fresh_seeds, metric_of, plan, replicate, siblings
from deepdiva.runs.folder import RunFolder
from deepdiva.runs.record import amend
from deepdiva.runs.run import Run

Recorded = Callable[..., RunFolder]


@pytest.fixture
def recorded() -> Recorded:
    """A completed run that trained nothing: `recorded(seed=3, accuracy=0.9)`."""

    def call(*, seed: int = 0, accuracy: float = 0.9, lr: float = 0.1, kind: str = "run") -> RunFolder:
        config = {"task": {"class": "points"}, "seed": seed, "optimizer": {"lr": lr}, "workers": seed}
        with Run.create("story", config=config, task="points", allow_dirty=True, tensorboard=False, kind=kind) as run:
            run.record(results={"test/accuracy": accuracy, "val/loss": 0.5}, best={"metric": "val/accuracy"})
        return RunFolder.open(run.path)

    return call


class Heard(Silence):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize(
    ("effort", "message"),
    [
        (Effort(replicates=3), "belong together"),
        (Effort(margin=0.1), "belong together"),
        (Effort(replicates=1, margin=0.1), "one replicate shows nothing"),
        (Effort(replicates=3, margin=0.0), "above 0"),
        (Effort(replicates=3, margin=float("nan")), "above 0"),
        (Effort(reruns=-1), "0 or more"),
        (Effort(metric="test/acuracy"), "no result"),
    ],
    ids=["no margin", "no replicates", "one", "zero margin", "nan margin", "negative", "metric"],
)
def test_wishes_that_show_nothing_are_refused_at_once(recorded: Recorded, effort: Effort, message: str):
    with pytest.raises(UserError, match=message):
        check(recorded(), effort)


def test_the_score_on_the_test_split_is_compared(recorded: Recorded):
    run = recorded()
    assert metric_of(run, None) == "test/accuracy"
    assert metric_of(run, "val/loss") == "val/loss"
    with pytest.raises(UserError, match="no result 'test/acuracy'") as caught:
        metric_of(run, "test/acuracy")
    assert caught.value.hint == "did you mean 'test/accuracy'?"


def test_only_runs_that_differ_in_the_seed_alone_count_and_each_seed_once(recorded: Recorded):
    run, other = recorded(seed=0), recorded(seed=1)
    recorded(seed=1, accuracy=0.1)
    recorded(seed=2, lr=0.2)
    recorded(seed=3, kind="reproduction")
    recorded(seed=4, kind="replicate")
    amend(recorded(seed=5).path, status="failed")
    changed = recorded(seed=6)
    amend(changed.path, digests={**changed.digests, "code": "other"})
    data = recorded(seed=7).path / "data"
    data.mkdir(exist_ok=True)
    (data / "footprint-0.json").write_text(Footprint({"a.png": Entry(1, "0" * 64)}).to_json())
    assert [one.id for one in siblings(run)] == [run.id, other.id]


def test_a_named_run_that_is_none_of_them_is_refused(recorded: Recorded):
    run = recorded()
    with pytest.raises(UserError, match="it has another optimizer"):
        siblings(run, [recorded(seed=2, lr=0.2)])
    assert siblings(run, [run]) == [run]


def test_how_many_are_needed_and_which_are_missing_is_said_before(recorded: Recorded):
    run = recorded(seed=0, accuracy=0.90)
    effort = Effort(replicates=20, margin=0.01)
    few = plan(run, siblings(run), effort)
    assert few[0] == "test/accuracy of 1 original run, 20 are made here"
    assert "is not known yet" in few[1]
    assert few[2].startswith("17 more of the original are missing")
    assert "for seed in 1 2 3" in few[2]
    assert f"deepdiva run --config {run.path / 'config.yaml'} --seed" in few[2]
    recorded(seed=1, accuracy=0.92)
    lines = plan(run, siblings(run), replace(effort, margin=0.1))
    assert lines[1].startswith("the noise between seeds is 0.0141 so far")
    assert lines[1].endswith(", 2 on each side are needed")


def test_fresh_seeds_are_new_and_cannot_be_chosen(recorded: Recorded):
    run = recorded()
    seeds = fresh_seeds(run, set(), 5)
    assert len(set(seeds)) == 5
    assert fresh_seeds(run, {seeds[0]}, 5)[0] == seeds[1]
    assert fresh_seeds(run, set(), 3) == seeds[:3]
    assert all(0 <= seed < 2**31 for seed in seeds)


def trained(recorded: Recorded, values: list[float]) -> Callable[..., RunFolder]:
    remaining = iter(values)

    def train_fresh(request: Request, **_: Any) -> RunFolder:
        value = next(remaining)
        if value != value:
            raise RunFailed("the loss is nan")
        return recorded(seed=request.config["seed"], accuracy=value, kind=request.kind)

    return train_fresh


def test_both_sides_are_compared(recorded: Recorded, monkeypatch: pytest.MonkeyPatch):
    run = recorded(seed=0, accuracy=0.90)
    for seed in range(1, 6):
        recorded(seed=seed, accuracy=0.90 + seed / 1000)
    monkeypatch.setattr(replication, "train_fresh", trained(recorded, [0.9, 0.901, 0.902, 0.903]))
    heard = Heard()
    effort = Effort(replicates=4, margin=0.05)
    found = replicate(run, run, Request(dict(run.config()), str(Path.cwd())), effort, heard)
    assert (len(found.original_values), len(found.replicate_values)) == (6, 4)
    assert found.test.equivalent
    assert not found.failure
    assert sum(line.startswith("seed ") for line in heard.lines) == 4
    assert found.to_mapping()["test"]["equivalent"] is True


def test_a_replicate_that_fails_is_told(recorded: Recorded, monkeypatch: pytest.MonkeyPatch):
    run = recorded(seed=0)
    recorded(seed=1)
    monkeypatch.setattr(replication, "train_fresh", trained(recorded, [0.9, float("nan")]))
    request = Request(dict(run.config()), str(Path.cwd()))
    found = replicate(run, run, request, Effort(replicates=3, margin=0.05), Heard())
    assert "the loss is nan" in found.failure
    assert not found.test.equivalent


def test_a_run_whose_settings_cannot_be_read_is_passed_over(recorded: Recorded):
    run, other = recorded(seed=0), recorded(seed=1)
    (other.path / "config.yaml").write_text(write({"a": 1}) + "]")
    (other.path / "manifest.json").unlink()
    assert siblings(run) == [run]


def test_a_replicate_without_the_metric_is_a_failure_and_not_left_out(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
):
    run = recorded(seed=0)
    recorded(seed=1)
    train = trained(recorded, [0.9, 0.9])

    def without(request: Request, **more: Any) -> RunFolder:
        done = train(request, **more)
        amend(done.path, results={"test/accuracy": None, "other": 1.0})
        return RunFolder(done.path, {**done.record, "results": {"other": 1.0}})

    monkeypatch.setattr(replication, "train_fresh", without)
    request = Request(dict(run.config()), str(Path.cwd()))
    found = replicate(run, run, request, Effort(replicates=2, margin=0.05), Heard())
    assert "has no test/accuracy" in found.failure


def test_a_result_that_is_no_number_does_not_count_as_noise(recorded: Recorded):
    run = recorded(seed=0, accuracy=0.9)
    recorded(seed=1, accuracy=float("nan"))
    lines = plan(run, siblings(run), Effort(replicates=2, margin=0.1))
    assert lines[0].startswith("test/accuracy of 1 original run")
