"""A whole experiment in this process: one seed is one digest, whatever is watched, kept, or drawn beside it."""

from __future__ import annotations

import contextlib
import gc
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from deepdiva import Config, RunFolder, UserError, train
from deepdiva.engine import checkpoint
from deepdiva.engine.progress import SilentProgress
from deepdiva.errors import RunFailed, UserErrors
from deepdiva.models.mlp import MLP
from deepdiva.runs.record import amend

Train = Callable[..., RunFolder]
SAME = ("weights", "state")


@pytest.fixture(scope="module")
def digests() -> dict[str, str]:
    """The digests of the plain training, kept by the first test that asks for them."""
    return {}


@pytest.fixture
def plain(digests: dict[str, str], run_task: Train) -> dict[str, str]:
    if not digests:
        digests.update(run_task().digests)
    return digests


# -- one digest ---------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"workers": 1},
        {"workers": 2},
        {"workers": 4},
        {"task": {"extra_draws": 7}},
        {"task": {"extra_draws": 3}, "logging": {"figures": "validation"}, "workers": 2},
        {"logging": {"every": 0}},
        {"logging": {"every": 5, "predictions": False}},
        {"logging": {"tensorboard": True, "figures": "validation"}},
        {"logging": {"figures": "end"}},
        {"training": {"validate_every": 2}},
        {"training": {"checkpoint_every": 2, "keep_every": 1}},
        {"experiment": "elsewhere", "runs_dir": "other"},
    ],
    ids=lambda settings: json.dumps(settings).strip("{}") or "again",
)
def test_one_seed_is_one_digest(plain: dict[str, str], run_task: Train, settings: dict[str, Any]):
    run = run_task(**settings)
    assert {name: run.digests[name] for name in SAME} == {name: plain[name] for name in SAME}
    if not settings.keys() - {"workers", "experiment", "runs_dir"}:
        assert run.digests == plain | {"environment": run.digests["environment"]}


@pytest.mark.parametrize(
    "settings",
    [{"seed": 1}, {"epochs": 2}, {"batch_size": 7}, {"optimizer": {"class": "AdamW", "lr": 0.021}}],
    ids=str,
)
def test_what_is_another_experiment_has_another_digest(
    plain: dict[str, str], run_task: Train, settings: dict[str, Any]
):
    run = run_task(**settings)
    assert run.digests["weights"] != plain["weights"]
    assert run.digests["config"] != plain["config"]


def test_what_happened_before_in_this_process_does_not_matter(plain: dict[str, str], run_task: Train):
    torch.manual_seed(12345)
    run_task(seed=9, epochs=1, precision="bfloat16")
    assert run_task().digests["weights"] == plain["weights"]


def test_zero_is_a_seed_and_one_is_drawn_where_none_is_given(run_task: Train):
    zero, drawn, other = run_task(epochs=1), run_task(epochs=1, seed=None), run_task(epochs=1, seed=None)
    assert zero.record["seed"] == zero.config()["seed"] == 0
    seeds = {run.record["seed"] for run in (zero, drawn, other)}
    assert len(seeds) == 3
    again = run_task(epochs=1, seed=drawn.record["seed"])
    assert again.digests["weights"] == drawn.digests["weights"]


# -- the record ---------------------------------------------------------------------------------------------------


def test_a_finished_run_holds_all_that_was_promised(run_task: Train):
    run = run_task(logging={"figures": "validation", "tensorboard": True})
    assert run.status == "completed"
    assert set(run.digests) == {"config", "code", "data", "environment", "weights", "state", "metrics", "numerics"}
    assert all(len(digest) == 64 for digest in run.digests.values())
    assert set(run.results) == {"val/accuracy", "test/loss", "test/accuracy"}
    assert len(run.record["test_reads"]) == 1
    assert run.record["best"]["metric"] == "val/accuracy"
    assert run.record["determinism"]["asked"] == "invariant"
    config = run.config()
    assert config["model"]["in_features"] == 4  # what the data decided
    assert config["optimizer"]["fused"] is True
    assert config["scheduler"]["interval"] == "step"
    assert config["threads"] == 1
    for name in ("log.txt", "events.jsonl", "fingerprints.jsonl", "predictions/test.csv", "tensorboard", "figures"):
        assert (run.path / name).exists()
    assert run.path.parent.name == "Trembling"
    shares = [float(share) for share in run.predictions("test")["score"]]
    assert len(shares) == 24
    assert run.predictions("test")["id"][0] == "cloud-000"


def test_the_configuration_that_was_recorded_repeats_the_run(run_task: Train):
    run = run_task(epochs=1)
    again = train(Config(**run.config()))
    assert again.digests == run.digests
    assert (again.path / "config.yaml").read_bytes() == (run.path / "config.yaml").read_bytes()


def test_the_digest_in_the_record_is_that_of_the_last_checkpoint(run_task: Train):
    from deepdiva.engine.fingerprint import state_digest

    run = run_task()
    saved, _ = checkpoint.load_newest(run.path / "checkpoints")
    assert saved is not None
    assert state_digest(saved.model) == run.digests["weights"]


class Watching(SilentProgress):
    """Remembers the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def test_whoever_watches_is_told_the_way_back(run_task: Train):
    watching = Watching()
    config = Config(task="trembling.py:Trembling", epochs=1, seed=0, threads=1, logging={"figures": "none"})
    run = train(config, progress=watching, command=["mine"], kind="study", parent="other")
    text = "\n".join(watching.lines)
    assert f"deepdiva resume runs/Trembling/{run.id}" in text
    assert "49 / 24 / 24 samples" in text
    assert (run.record["command"], run.record["kind"], run.record["parent"]) == (["mine"], "study", "other")


def test_trainings_in_one_process_leave_the_collector_alone(run_task: Train):
    before = gc.get_freeze_count()
    run_task(epochs=1)
    assert gc.get_freeze_count() == before
    assert gc.isenabled()
    gc.disable()  # as the command line starts
    try:
        run_task(epochs=1)
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
    finally:
        gc.enable()
        gc.unfreeze()


# -- what cannot go on --------------------------------------------------------------------------------------------


def runs() -> list[Path]:
    return [path.parent for path in Path().glob("runs/*/*/run.json")]


def write_task(body: str, name: str = "mine.py") -> str:
    """A task of one's own that differs from the trembling one in some methods."""
    head = "from dataclasses import dataclass, replace\nimport torch\nfrom trembling import *\n\n"
    indented = "".join(f"    {line}\n" for line in body.strip().splitlines())
    Path(name).write_text(f"{head}@dataclass(frozen=True)\nclass Mine(Trembling):\n{indented}")
    return f"{name}:Mine"


def attempt(task: str, **settings: Any) -> RunFolder:
    return train(Config(**{"task": task, "seed": 0, "threads": 1, "logging": {"tensorboard": False}, **settings}))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_an_empty_split_leaves_nothing_behind(split: str):
    task = write_task(
        f"""
def load_data(self, source):
    return replace(super().load_data(source), {split}=[])
"""
    )
    with pytest.raises(UserError, match=f"the {split} split has no samples"):
        attempt(task)
    assert not Path("runs").exists()


def test_all_mistakes_in_components_come_at_once_and_leave_nothing_behind():
    with pytest.raises(UserErrors) as caught:
        attempt(
            "trembling.py:Trembling",
            model={"class": "mlp", "hiden": [3]},
            optimizer={"class": "AdamW", "learning_rate": 0.1},
            scheduler={"class": "StepLR", "interval": "day"},
        )
    text = str(caught.value)
    for part in ("did you mean 'hidden'", "learning_rate", "`step` or `epoch`"):
        assert part in text
    assert not Path("runs").exists()


def test_an_error_of_the_user_s_code_marks_the_run_failed_with_its_traceback():
    task = write_task(
        """
def metrics(self, evaluation):
    if evaluation.epoch == 2:
        raise LookupError("no such thing")
    return super().metrics(evaluation)
"""
    )
    with pytest.raises(LookupError) as caught:
        attempt(task)
    (path,) = runs()
    run = RunFolder.open(path)
    assert run.status == "failed"
    assert "LookupError: no such thing" in run.record["error"]["traceback"]
    assert any("deepdiva resume" in note for note in caught.value.__notes__)
    assert "LookupError" in (path / "log.txt").read_text()


def test_a_loss_that_is_no_number_fails_by_name():
    task = write_task(
        """
def load_data(self, source):
    data = super().load_data(source)
    data.train.inputs[17] = float("inf")
    return data
"""
    )
    with pytest.raises(RunFailed, match=r"the loss is nan at step \d \(epoch 1\)") as caught:
        attempt(task)
    assert "cloud-" in str(caught.value)
    (path,) = runs()
    run = RunFolder.open(path)
    assert run.status == "failed"
    assert run.record["error"]["type"] == "RunFailed"
    *_, last = run.events("train/batch/loss")
    assert math.isnan(last["values"]["train/batch/loss"])


def test_ctrl_c_marks_the_run_interrupted():
    task = write_task(
        """
def metrics(self, evaluation):
    if evaluation.epoch == 1:
        raise KeyboardInterrupt
    return super().metrics(evaluation)
"""
    )
    with pytest.raises(KeyboardInterrupt):
        attempt(task)
    assert RunFolder.open(runs()[0]).status == "interrupted"


def test_a_task_may_build_its_own_network_and_no_other_may_go_without():
    task = write_task(
        """
preset = {key: value for key, value in Trembling.preset.items() if key != "model"}
def build_model(self, create):
    return nn.Linear(4, 2)
"""
    )
    assert attempt(task, epochs=1).status == "completed"
    other = write_task('preset = {"epochs": 1}', "other.py")
    with pytest.raises(UserError, match="no model is named"):
        attempt(other)


# -- fine-tuning --------------------------------------------------------------------------------------------------


def test_fine_tuning_begins_with_the_best_weights_of_a_run(run_task: Train):
    first = run_task()
    best = checkpoint.folder(first.path / "checkpoints", first.record["best"]["step"])
    for source in (first.path, best, best / "model.safetensors"):
        again = run_task(epochs=0, seed=5, training={"init_from": str(source)})
        assert again.results["val/accuracy"] == first.results["val/accuracy"]
    assert run_task(epochs=0, seed=5).digests["weights"] != again.digests["weights"]


def test_weights_that_do_not_fit_are_named_and_leave_nothing_behind(run_task: Train):
    torch.save(MLP(4, 3, hidden=(16, 16)).state_dict(), "old.pt")
    with pytest.raises(UserErrors) as caught:
        run_task(training={"init_from": "old.pt"})
    assert "classifier.weight: the model has shape [2, 16], the file [3, 16]" in str(caught.value)
    assert "not in the model: hidden." in str(caught.value)
    with pytest.raises(UserError, match="no such weights"):
        run_task(training={"init_from": "gone.pt"})
    assert not Path("runs").exists()


def test_a_run_without_a_best_epoch_cannot_be_built_upon(run_task: Train):
    first = run_task(epochs=0)
    amend(first.path, best=None)
    with pytest.raises(UserError, match="has no best checkpoint"):
        run_task(epochs=0, training={"init_from": str(first.path)})
    with contextlib.suppress(UserError):
        run_task(epochs=0, training={"init_from": str(first.path)})
    assert len(runs()) == 1


# -- schedules, precision, early stopping -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scheduler",
    [
        "CosineAnnealingLR",
        {"class": "LinearLR", "start_factor": 0.1, "interval": "step"},
        {"class": "StepLR", "step_size": 1},
        {"class": "CosineAnnealingWarmRestarts", "T_0": 3, "interval": "step"},
        {"class": "ReduceLROnPlateau", "patience": 0},
        {"class": "schedules.py:warm_up", "steps": 4, "interval": "step"},
        None,
    ],
    ids=str,
)
def test_any_schedule_will_do(run_task: Train, scheduler: Any):
    Path("schedules.py").write_text(
        "from torch.optim.lr_scheduler import ExponentialLR, LinearLR, SequentialLR\n\n"
        "def warm_up(optimizer, steps: int):\n"
        "    first = LinearLR(optimizer, 0.1, total_iters=steps)\n"
        "    return SequentialLR(optimizer, [first, ExponentialLR(optimizer, 0.9)], [steps])\n"
    )
    run = run_task(scheduler=scheduler)
    rates = [event["values"]["train/batch/learning_rate"] for event in run.events("train/batch/learning_rate")]
    assert len(rates) == 18
    assert len(set(rates)) > 1 or scheduler is None or "ReduceLROnPlateau" in str(scheduler)


def test_early_stopping_ends_the_training_and_the_run_is_completed(run_task: Train):
    run = run_task(epochs=30, scheduler=None, training={"patience": 1})
    assert run.status == "completed"
    assert "stopped early" in (run.path / "log.txt").read_text()
    assert len(list(run.events("train/loss"))) < 30


def test_a_number_of_threads_that_a_level_does_not_have_is_told(run_task: Train) -> None:
    run = run_task(epochs=0, determinism="portable", threads=2)
    assert run.config()["threads"] == 1
    assert any("runs on one thread, not 2" in reason for reason in run.record["determinism"]["reasons"])
