"""The loop: what it writes, when it validates, keeps and stops, and that it goes on to the same bits."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.optim import lr_scheduler as torch_schedulers

from deepdiva.engine import checkpoint
from deepdiva.engine.fingerprint import state_digest
from deepdiva.engine.progress import SilentProgress
from deepdiva.engine.schedule import Schedule
from deepdiva.engine.task import DataSplits, Evaluation, Score, StepOutput
from deepdiva.engine.trainer import Trainer
from deepdiva.errors import RunFailed, UserError
from deepdiva.runs.events import read_events
from deepdiva.runs.lines import read_lines
from deepdiva.runs.run import Run

Make = Callable[..., Trainer]
STEPS = 4  # in an epoch over 33 samples in batches of 8: the single one left over joins the last batch


def events(trainer: Trainer, tag: str | None = None) -> list[dict[str, Any]]:
    trainer.run.flush()
    return list(read_events(trainer.run.path / "events.jsonl", tag))


def steps_with(trainer: Trainer, tag: str) -> list[int]:
    return [event["step"] for event in events(trainer, tag)]


def kept(trainer: Trainer) -> list[int]:
    return checkpoint.steps(trainer.run.path / "checkpoints")


class Interrupting(SilentProgress):
    """Presses Ctrl-C when some step is done."""

    def __init__(self, at: int) -> None:
        self.left = at

    def step(self, epoch: int, done: int, loss: float | None) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


def resumed(make: Make, before: Trainer, *, at: int | None = None, **settings: Any) -> Trainer:
    """A new trainer in the run of `before`, at its newest checkpoint or the one at a step."""
    before.run.finish(KeyboardInterrupt())
    directory = before.run.path / "checkpoints"
    saved = checkpoint.load(checkpoint.folder(directory, checkpoint.steps(directory)[0] if at is None else at))
    run = Run.reopen(before.run.path, positions=saved.training["logs"])
    trainer = make(run=run, **settings)
    trainer.restore(saved)
    return trainer


# -- the story ---------------------------------------------------------------------------------------------------


def test_a_training_from_beginning_to_end(make_trainer: Make):
    trainer = make_trainer(epochs=3)
    trainer.fit()
    results = trainer.test()
    assert steps_with(trainer, "val/accuracy") == [0, STEPS, 2 * STEPS, 3 * STEPS]  # once before the first epoch
    assert steps_with(trainer, "train/batch/loss") == list(range(1, 3 * STEPS + 1))
    assert steps_with(trainer, "train/loss") == [STEPS, 2 * STEPS, 3 * STEPS]
    assert set(events(trainer, "train/loss")[0]["values"]) == {
        "train/loss",
        "train/accuracy",
        "train/learning_rate",
        "system/epoch_seconds",
        "system/samples_per_second",
        "system/memory_mib",
    }
    assert set(results) == {"val/accuracy", "test/loss", "test/accuracy"}
    assert results["test/accuracy"] > 0.8
    assert [read["checkpoint"] for read in trainer.run.facts["test_reads"]] == [
        f"step-{trainer.best()['step']:08d}"  # type: ignore[index]
    ]
    assert steps_with(trainer, "test/accuracy") == [3 * STEPS]


def test_every_sample_is_learned_from_once_an_epoch(make_trainer: Make):
    trainer = make_trainer(epochs=2)
    trainer.fit()
    trainer.run.flush()
    lines = list(read_lines(trainer.run.path / "fingerprints.jsonl"))
    assert [line["step"] for line in lines if "batch" in line] == list(range(1, 2 * STEPS + 1))
    whole = [line for line in lines if "weights" in line]
    assert [(line["epoch"], line["step"]) for line in whole] == [(1, STEPS), (2, 2 * STEPS)]
    assert {name: whole[-1][name] for name in ("weights", "state")} == trainer.digests()
    assert trainer.digests()["weights"] == state_digest(trainer.model.state_dict())


def test_train_numbers_are_pooled_over_the_samples_of_the_epoch(make_trainer: Make):
    trainer = make_trainer(epochs=1)
    trainer.fit()
    losses = [event["values"]["train/batch/loss"] for event in events(trainer, "train/batch/loss")]
    pooled = events(trainer, "train/loss")[0]["values"]["train/loss"]
    assert pooled == pytest.approx(np.average(losses, weights=[8, 8, 8, 9]))


def test_the_test_split_is_read_with_the_best_weights(make_trainer: Make):
    trainer = make_trainer(epochs=3)
    trainer.fit()
    last = trainer.digests()["weights"]
    trainer.test()
    best = trainer.best()
    assert best is not None
    saved = checkpoint.load(checkpoint.folder(trainer.run.path / "checkpoints", best["step"]))
    assert trainer.digests()["weights"] == state_digest(saved.model)
    assert (trainer.digests()["weights"] == last) == (best["step"] == 3 * STEPS)
    values = {event["step"]: event["values"]["val/accuracy"] for event in events(trainer, "val/accuracy")}
    assert best["value"] == max(values.values()) == values[best["step"]]


def test_no_epochs_is_a_validation_and_a_test(make_trainer: Make):
    trainer = make_trainer(epochs=0)
    trainer.fit()
    assert set(trainer.test()) == {"val/accuracy", "test/loss", "test/accuracy"}
    assert kept(trainer) == [0]


def test_without_a_test_split_there_is_no_test(make_trainer: Make, clouds: type):
    @dataclass(frozen=True)
    class Untested(clouds):  # type: ignore[misc]
        def load_data(self, source: str | None) -> DataSplits:
            return replace(super().load_data(source), test=None)

    trainer = make_trainer(Untested())
    trainer.fit()
    assert set(trainer.test()) == {"val/accuracy"}
    assert trainer.run.facts["test_reads"] == []
    assert not (trainer.run.path / "predictions").exists()


def test_predictions_are_kept_with_their_ids(make_trainer: Make):
    trainer = make_trainer(epochs=0)
    trainer.fit()
    trainer.test()
    lines = (trainer.run.path / "predictions" / "test.csv").read_text().splitlines()
    assert lines[0] == "id,right"
    assert lines[1].startswith("blob-000,")
    assert len(lines) == 17


def test_a_score_that_the_metrics_do_not_give_is_named(make_trainer: Make, clouds: type):
    @dataclass(frozen=True)
    class Misspelt(clouds):  # type: ignore[misc]
        score = Score("acuracy")

    with pytest.raises(UserError, match="did you mean 'accuracy'"):
        make_trainer(Misspelt()).fit()


# -- one step ----------------------------------------------------------------------------------------------------


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(4, 2)


@pytest.mark.parametrize(("batch_size", "accumulate"), [(4, 4), (8, 2), (16, 1), (1, 16)])
def test_accumulated_gradients_are_those_of_a_big_batch(
    make_trainer: Make, clouds: type, batch_size: int, accumulate: int
):
    def train(batch_size: int, accumulate: int) -> Trainer:
        settings = {"batch_size": batch_size, "training": {"accumulate": accumulate}, "epochs": 2}
        trainer = make_trainer(clouds(size=50), model=linear(), optimizer=sgd, **settings)
        trainer.fit()
        return trainer

    big, small = train(16, 1), train(batch_size, accumulate)
    for name, weight in big.model.state_dict().items():
        torch.testing.assert_close(small.model.state_dict()[name], weight, rtol=1e-5, atol=1e-6)
    one, other = (events(trainer, "train/batch/loss") for trainer in (big, small))
    assert [event["step"] for event in one] == [event["step"] for event in other]
    for name in ("loss", "accuracy"):
        values = [[event["values"][f"train/batch/{name}"] for event in found] for found in (one, other)]
        assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_a_last_step_over_fewer_batches_counts_its_samples(make_trainer: Make, clouds: type):
    # 21 samples in batches of 4, three a step: 12 samples, then 4 + 5, since a single one joins the batch before it.
    trainer = make_trainer(clouds(size=21), batch_size=4, epochs=1, training={"accumulate": 3})
    trainer.fit()
    assert steps_with(trainer, "train/batch/loss") == [1, 2]
    one, two = events(trainer, "train/batch/loss")
    pooled = events(trainer, "train/loss")[0]["values"]["train/loss"]
    losses = [event["values"]["train/batch/loss"] for event in (one, two)]
    assert pooled == pytest.approx(np.average(losses, weights=[12, 9]))


@pytest.mark.parametrize("limit", [0.01, 1000.0])
def test_gradients_are_clipped_to_their_norm(make_trainer: Make, limit: float):
    model = linear()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    free, clipped = (
        make_trainer(model=net, optimizer=sgd, epochs=1, batch_size=33, training={"clip_norm": norm})
        for net, norm in ((linear(), None), (model, limit))
    )
    free.fit()
    clipped.fit()
    change = torch.cat([(weight - before[name]).flatten() for name, weight in model.state_dict().items()]).norm()
    if limit < 1:
        assert change.item() == pytest.approx(0.1 * limit, rel=1e-3)
    else:
        assert clipped.digests()["weights"] == free.digests()["weights"]


def test_a_batch_of_one_is_never_left_over_for_batch_normalisation(make_trainer: Make, clouds: type):
    trainer = make_trainer(clouds(size=17), batch_size=16, epochs=1)
    trainer.fit()
    assert trainer.position.step == 1


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_trains_and_resumes(make_trainer: Make, precision: str):
    settings = {"precision": precision, "epochs": 2}
    whole = make_trainer(**settings)
    whole.fit()
    assert {weight.dtype for weight in whole.model.parameters()} == {torch.float32}
    exact = make_trainer()
    exact.fit()
    assert whole.digests()["weights"] != exact.digests()["weights"]
    again = resumed(make_trainer, whole, at=STEPS, **settings)
    again.fit()
    assert again.digests() == whole.digests()
    if precision == "float16":
        assert again.state.scaler.get_scale() == whole.state.scaler.get_scale()
        assert again.state.scaler.state_dict() == whole.state.scaler.state_dict()


def test_clipping_sees_gradients_without_the_scale_of_half_precision(make_trainer: Make):
    model = linear()
    before = torch.cat([weight.detach().clone().flatten() for weight in model.parameters()])
    settings = {"epochs": 1, "batch_size": 33, "precision": "float16", "training": {"clip_norm": 0.01}}
    make_trainer(model=model, optimizer=sgd, **settings).fit()
    after = torch.cat([weight.detach().flatten() for weight in model.parameters()])
    assert (after - before).norm().item() == pytest.approx(0.001, rel=0.02)


@pytest.mark.parametrize("place", [0, 20, 32])
def test_a_loss_that_is_no_number_ends_the_run_by_name(make_trainer: Make, clouds: type, place: int):
    trainer = make_trainer(clouds(poison=place), epochs=3)
    with pytest.raises(RunFailed) as caught:
        trainer.fit()
    order = [batch.tolist() for batch in trainer._train_loader.plan(1)]
    bad = next(step for step, batch in enumerate(order, start=1) if place in batch)
    assert f"the loss is nan at step {bad} (epoch 1); the batch was: " in str(caught.value)
    assert all(f"blob-{index:03d}" in str(caught.value) for index in order[bad - 1][:8])
    assert kept(trainer) == [0]  # no checkpoint holds what came of it
    assert steps_with(trainer, "train/batch/loss") == list(range(1, bad + 1))


# -- validation, best, early stopping, checkpoints ----------------------------------------------------------------


@pytest.mark.parametrize(("every", "epochs"), [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4, 5]), (9, [0, 5])])
def test_validation_comes_before_every_so_often_and_at_the_end(make_trainer: Make, every: int, epochs: list[int]):
    trainer = make_trainer(epochs=5, training={"validate_every": every})
    trainer.fit()
    assert [event["epoch"] for event in events(trainer, "val/loss")] == epochs


def scripted(clouds: type, scores: list[float]) -> Any:
    """A task whose validations score as told."""

    @dataclass(frozen=True)
    class Scripted(clouds):  # type: ignore[misc]
        def metrics(self, evaluation: Evaluation) -> Mapping[str, float]:
            return {"accuracy": scores[evaluation.epoch] if evaluation.split == "val" else 0.5}

        def figures(self, model: nn.Module, evaluation: Evaluation) -> Mapping[str, Image.Image]:
            return {"noise": Image.fromarray(np.random.randint(0, 256, (4, 4), dtype=np.uint8))}

    return Scripted()


def test_training_stops_when_the_score_no_longer_improves(make_trainer: Make, clouds: type):
    task = scripted(clouds, [0.1, 0.3, 0.2, 0.4, 0.35, 0.3, 0.9, 0.9, 0.9])
    trainer = make_trainer(task, epochs=8, training={"patience": 2}, logging={"figures": "end"})
    trainer.fit()
    assert trainer.position.epoch == 5
    assert trainer.best() == {"epoch": 3, "step": 3 * STEPS, "metric": "val/accuracy", "value": 0.4}
    drawn = sorted((trainer.run.path / "figures" / "val" / "noise").iterdir())
    assert [path.name for path in drawn] == [f"{5 * STEPS:08d}.png"]
    assert "stopped early" in (trainer.run.path / "log.txt").read_text()
    again = resumed(make_trainer, trainer, task=task, epochs=8, training={"patience": 2})
    again.fit()
    assert again.position == trainer.position


def test_of_two_equal_scores_the_lower_loss_is_better(make_trainer: Make, clouds: type):
    trainer = make_trainer(scripted(clouds, [0.5] * 9), epochs=4)
    trainer.fit()
    losses = {event["step"]: event["values"]["val/loss"] for event in events(trainer, "val/loss")}
    best = trainer.best()
    assert best is not None
    assert losses[best["step"]] == min(losses.values())


def test_patience_is_counted_through_a_resume(make_trainer: Make, clouds: type):
    task = scripted(clouds, [0.1, 0.5, 0.2, 0.4, 0.3, 0.3])
    settings = {"task": task, "epochs": 5, "training": {"patience": 3}}
    whole = make_trainer(**settings)
    whole.fit()
    interrupted = make_trainer(**settings, progress=Interrupting(at=3 * STEPS - 1))
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit()
    again = resumed(make_trainer, interrupted, **settings)
    assert again.position.without_improvement == 1
    again.fit()
    assert again.position == whole.position
    assert again.digests() == whole.digests()


def test_a_score_that_is_no_number_is_never_the_best(make_trainer: Make, clouds: type):
    nan = float("nan")
    trainer = make_trainer(scripted(clouds, [nan, 0.2, nan]), epochs=2)
    trainer.fit()
    assert trainer.best() == {"epoch": 1, "step": STEPS, "metric": "val/accuracy", "value": 0.2}
    never = make_trainer(scripted(clouds, [nan] * 3), epochs=2)
    never.fit()
    assert never.best() is None
    assert set(never.test()) == {"test/loss", "test/accuracy"}


def test_the_best_and_the_last_two_checkpoints_are_kept(make_trainer: Make, clouds: type):
    task = scripted(clouds, [0.1, 0.2, 0.9, 0.3, 0.4, 0.5, 0.6, 0.7])
    trainer = make_trainer(task, epochs=7)
    trainer.fit()
    assert kept(trainer) == [7 * STEPS, 6 * STEPS, 2 * STEPS]
    also = make_trainer(task, epochs=7, training={"keep_every": 3, "checkpoint_every": 3})
    also.fit()
    assert kept(also) == [28, 27, 6 * STEPS, 3 * STEPS, 2 * STEPS, 0]


@pytest.mark.parametrize(("figures", "steps"), [("none", []), ("end", [8]), ("validation", [0, 4, 8])])
def test_figures_come_when_they_are_wanted(make_trainer: Make, clouds: type, figures: str, steps: list[int]):
    trainer = make_trainer(scripted(clouds, [0.1, 0.2, 0.3]), logging={"figures": figures})
    trainer.fit()
    trainer.test()
    folder = trainer.run.path / "figures"
    assert sorted(int(path.stem) for path in folder.glob("val/noise/*.png")) == steps
    assert len(list(folder.glob("test/noise/*.png"))) == (figures != "none")


def test_what_figures_draw_from_the_generators_repeats(make_trainer: Make, clouds: type):
    pictures = []
    for _ in range(2):
        trainer = make_trainer(scripted(clouds, [0.1, 0.2, 0.3]), logging={"figures": "validation"})
        np.random.seed(random.SystemRandom().randrange(2**32))
        trainer.fit()
        pictures.append([path.read_bytes() for path in sorted(trainer.run.path.glob("figures/val/noise/*.png"))])
    assert pictures[0] == pictures[1]
    assert len(set(pictures[0])) == 3


# -- the same bits ------------------------------------------------------------------------------------------------

SCHEDULES: dict[str, Callable[[torch.optim.Optimizer], Schedule]] = {
    "none": lambda optimizer: Schedule(None, "epoch"),
    "OneCycleLR": lambda optimizer: Schedule(torch_schedulers.OneCycleLR(optimizer, 0.1, total_steps=12), "step"),
    "StepLR": lambda optimizer: Schedule(torch_schedulers.StepLR(optimizer, 1, gamma=0.5), "epoch"),
    "MultiStepLR": lambda optimizer: Schedule(torch_schedulers.MultiStepLR(optimizer, [2, 5]), "step"),
    "CosineAnnealingWarmRestarts": lambda optimizer: Schedule(
        torch_schedulers.CosineAnnealingWarmRestarts(optimizer, 3, T_mult=2), "step"
    ),
    "CyclicLR": lambda optimizer: Schedule(torch_schedulers.CyclicLR(optimizer, 0.001, 0.1, step_size_up=3), "step"),
    "ReduceLROnPlateau": lambda optimizer: Schedule(
        torch_schedulers.ReduceLROnPlateau(optimizer, "max", patience=0), "epoch"
    ),
    "SequentialLR": lambda optimizer: Schedule(
        torch_schedulers.SequentialLR(
            optimizer,
            [torch_schedulers.LinearLR(optimizer, 0.1, total_iters=3), torch_schedulers.ExponentialLR(optimizer, 0.9)],
            [3],
        ),
        "step",
    ),
}
OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "AdamW": lambda model: torch.optim.AdamW(model.parameters(), lr=0.05, fused=True),
    "SGD": lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True),
    "RMSprop": lambda model: torch.optim.RMSprop(model.parameters(), lr=0.01, momentum=0.5, centered=True),
    "NAdam": lambda model: torch.optim.NAdam(model.parameters(), lr=0.01),
    "Rprop": lambda model: torch.optim.Rprop(model.parameters(), lr=0.01),
    "Adafactor": lambda model: torch.optim.Adafactor(model.parameters(), lr=0.01),
}


def check_resume(make: Make, at: int, **settings: Any) -> None:
    """Ctrl-C after step `at`, then a resume: the weights, the state and every log are as if nothing had been."""
    settings = {"epochs": 3, **settings}
    whole = make(**settings)
    whole.fit()
    interrupted = make(**settings, progress=Interrupting(at=at))
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit()
    assert kept(interrupted)[0] == at
    again = resumed(make, interrupted, **settings)
    again.fit()
    assert again.digests() == whole.digests()
    whole.run.flush()
    again.run.flush()
    one, other = (trainer.run.path / "fingerprints.jsonl" for trainer in (whole, again))
    assert one.read_bytes() == other.read_bytes()
    assert [measured(event) for event in events(whole)] == [measured(event) for event in events(again)]


def measured(event: dict[str, Any]) -> str:
    """An event without what depends on the machine."""
    values = {tag: value for tag, value in event["values"].items() if not tag.startswith("system/")}
    return json.dumps({"step": event["step"], "epoch": event["epoch"], "values": values})


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_resumes_to_the_same_bits(make_trainer: Make, clouds: type, name: str):
    optimizer = OPTIMIZERS["SGD" if name == "CyclicLR" else "AdamW"]
    check_resume(make_trainer, 6, task=clouds(trembling=True), optimizer=optimizer, schedule=SCHEDULES[name])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_resumes_to_the_same_bits(make_trainer: Make, name: str):
    check_resume(make_trainer, 5, optimizer=OPTIMIZERS[name])


@pytest.mark.parametrize("at", [1, 3, 4, 8, 11])
def test_a_resume_from_any_step_gives_the_same_bits(make_trainer: Make, clouds: type, at: int):
    check_resume(make_trainer, at, task=clouds(trembling=True))


def test_accumulation_and_clipping_resume_to_the_same_bits(make_trainer: Make):
    settings = {"batch_size": 4, "training": {"accumulate": 3, "clip_norm": 0.5, "validate_every": 2}}
    check_resume(make_trainer, 4, **settings)


@pytest.mark.parametrize("at", [3, 4])
def test_a_moving_average_resumes_to_the_same_bits(make_trainer: Make, clouds: type, at: int):
    check_resume(make_trainer, at, task=clouds(trembling=True), training={"ema": 0.9, "patience": 2})


def test_the_moving_average_is_what_is_validated_tested_and_read(
    make_trainer: Make, make_network: Callable[..., nn.Module]
):
    plain, averaged = (make_trainer(epochs=3, training={"ema": decay, "keep_every": 1}) for decay in (None, 0.9))
    for trainer in (plain, averaged):
        trainer.fit()
    digests = [trainer.digests() for trainer in (plain, averaged)]
    assert digests[0]["weights"] == digests[1]["weights"]  # it follows the training and never steers it
    assert digests[0]["state"] != digests[1]["state"]
    losses = [[event["values"]["val/loss"] for event in events(trainer, "val/loss")] for trainer in (plain, averaged)]
    assert losses[0][0] == losses[1][0]
    assert all(one != other for one, other in zip(losses[0][1:], losses[1][1:], strict=True))
    best = averaged.best()
    assert best is not None
    path = checkpoint.folder(averaged.run.path / "checkpoints", best["step"])
    averaged.test()
    assert averaged.digests()["weights"] == digests[1]["weights"]  # the test needs only the averaged weights
    weights = checkpoint.read_weights(path)
    assert state_digest(weights) == state_digest(averaged.state.evaluated.state_dict())
    assert state_digest(weights) != state_digest(checkpoint.load(path).model)
    model = make_network()
    model.load_state_dict(weights)
    other = make_trainer(model=model, epochs=0)
    other.fit()
    assert other.best() == {**best, "epoch": 0, "step": 0}


def test_ctrl_c_in_the_last_validation_is_heeded_and_only_that_and_the_test_are_left(make_trainer: Make):
    whole = make_trainer(epochs=1)
    whole.fit()
    interrupted = make_trainer(epochs=1, progress=Interrupting(at=STEPS))
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit()
    again = resumed(make_trainer, interrupted, epochs=1)
    assert (again.position.step, again.position.epoch) == (STEPS, 0)  # only the validation is left
    again.fit()
    assert again.digests() == whole.digests()
    assert [measured(event) for event in events(again)] == [measured(event) for event in events(whole)]
    assert again.test() == whole.test()


def test_a_broken_checkpoint_is_passed_over_for_the_one_before(make_trainer: Make, clouds: type):
    settings = {"task": clouds(trembling=True), "epochs": 2, "training": {"checkpoint_every": 2}}
    whole = make_trainer(**settings)
    whole.fit()
    weights = checkpoint.folder(whole.run.path / "checkpoints", 8) / "training.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-3] ^= 8
    weights.write_bytes(damaged)
    saved, passed_over = checkpoint.load_newest(whole.run.path / "checkpoints")
    assert saved is not None
    assert saved.step == 6
    assert len(passed_over) == 1
    before = whole.digests()
    again = resumed(make_trainer, whole, at=6, **settings)
    again.fit()
    assert again.digests() == before


@pytest.mark.parametrize(
    "settings",
    [
        {"training": {"validate_every": 2}},
        {"training": {"checkpoint_every": 1}},
        {"training": {"keep_every": 1}},
        {"logging": {"every": 0, "figures": "none"}},
        {"logging": {"every": 3, "figures": "validation", "predictions": False}},
        {"workers": 2},
    ],
    ids=str,
)
def test_what_is_watched_and_kept_never_changes_a_bit(make_trainer: Make, clouds: type, settings: dict[str, Any]):
    plain = make_trainer(clouds(trembling=True))
    plain.fit()
    other = make_trainer(clouds(trembling=True), **settings)
    other.fit()
    assert other.digests() == plain.digests()


def test_draws_of_user_code_never_change_a_bit(make_trainer: Make, clouds: type):
    @dataclass(frozen=True)
    class Drawing(clouds):  # type: ignore[misc]
        def step(self, model: nn.Module, batch: Any) -> StepOutput:
            output = super().step(model, batch)
            torch.rand(3), np.random.rand(3), random.random()
            return output

        def metrics(self, evaluation: Evaluation) -> Mapping[str, float]:
            torch.rand(evaluation.epoch + 1), np.random.rand(3), random.random()
            return super().metrics(evaluation)

        def figures(self, model: nn.Module, evaluation: Evaluation) -> Mapping[str, Image.Image]:
            model(torch.randn(5, 4))
            return {"noise": Image.new("L", (1, 1), int(np.random.randint(256)))}

    plain = make_trainer(clouds(trembling=True))
    plain.fit()
    drawing = make_trainer(Drawing(trembling=True), logging={"figures": "validation"})
    drawing.fit()
    assert drawing.digests() == plain.digests()


def test_two_seeds_give_two_digests(make_trainer: Make):
    digests = set()
    for seed in (0, 1, 2**63 - 1):
        trainer = make_trainer(seed=seed)
        trainer.fit()
        digests.add(trainer.digests()["weights"])
    assert len(digests) == 3


def test_the_log_says_how_a_training_went(make_trainer: Make):
    trainer = make_trainer(epochs=1)
    trainer.fit()
    text = Path(trainer.run.path / "log.txt").read_text()
    assert "epoch   0/1  |  val  loss" in text
    assert "epoch   1/1  |  train  loss" in text


# -- a part of a training -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("until", [0, 1, 3, STEPS, STEPS + 2, 2 * STEPS])
def test_until_a_step_gives_what_the_whole_training_had_there(make_trainer: Make, clouds: type, until: int):
    settings: dict[str, Any] = {"training": {"checkpoint_every": 1, "keep_every": 1, "validate_every": 2}}
    settings |= {"schedule": SCHEDULES["StepLR"], "epochs": 3}
    recorded: dict[int, dict[str, str]] = {}

    class Noting(SilentProgress):
        def step(self, epoch: int, done: int, loss: float | None) -> None:
            if trainer.position.step % STEPS:
                recorded[trainer.position.step] = trainer.digests()

    trainer = make_trainer(clouds(trembling=True), progress=Noting(), **settings)
    trainer.fit()
    for step in kept(trainer):
        recorded[step] = checkpoint.load(checkpoint.folder(trainer.run.path / "checkpoints", step)).training["digests"]
    part = make_trainer(clouds(trembling=True), **settings)
    part.fit(until=until)
    assert part.position.step == until
    assert part.digests() == recorded[until]
    assert steps_with(part, "train/batch/loss") == list(range(1, until + 1))
    assert steps_with(part, "train/loss") == [STEPS * epoch for epoch in range(1, until // STEPS + 1)]
    part.fit()  # and on to the end, as if it had not stopped
    assert part.digests() == trainer.digests()


def test_until_a_step_from_a_checkpoint(make_trainer: Make):
    settings: dict[str, Any] = {"training": {"keep_every": 1}, "epochs": 3}
    whole = make_trainer(**settings)
    whole.fit()
    directory = whole.run.path / "checkpoints"
    begin, end = (checkpoint.load(checkpoint.folder(directory, step)) for step in (STEPS, 2 * STEPS))
    part = make_trainer(**settings)
    part.restore(begin)
    part.fit(until=2 * STEPS)
    assert part.digests() == end.training["digests"]
    assert steps_with(part, "val/loss") == [2 * STEPS]


def test_the_last_step_is_watched_and_no_other(make_trainer: Make):
    watched: list[str] = []

    @contextmanager
    def watch() -> Iterator[None]:
        watched.append(f"from {trainer.position.step}")
        yield
        watched.append(f"to {trainer.position.step}")

    trainer = make_trainer()
    trainer.fit(until=STEPS + 1, watch=watch)
    assert watched == [f"from {STEPS}", f"to {STEPS + 1}"]
