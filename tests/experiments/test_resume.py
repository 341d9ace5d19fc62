"""However a run ends, it goes on to the same bits: weights, state, events, fingerprints, predictions."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from deepdiva import RunFolder, UserError, resume
from deepdiva.engine import checkpoint
from deepdiva.engine.fingerprint import StepDigest, state_digest
from deepdiva.engine.progress import SilentProgress
from deepdiva.runs.record import amend
from deepdiva.runs.storage import Storage

Train = Callable[..., RunFolder]
Start = Callable[..., Any]


class Interrupting(SilentProgress):
    """Presses Ctrl-C when some step is done, and again when asked to insist; remembers the lines."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.lines: list[str] = []

    def step(self, epoch: int, done: int, loss: float | None) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)

    def line(self, text: str) -> None:
        self.lines.append(text)


def evidence(run: RunFolder) -> dict[str, Any]:
    """All of a run that must be the same bit for bit, however often it ended early."""
    events = [
        {
            "step": event["step"],
            "epoch": event["epoch"],
            "values": {tag: value for tag, value in event["values"].items() if not tag.startswith("system/")},
        }
        for event in run.events()
    ]
    return {
        "status": run.status,
        "digests": {name: run.digests[name] for name in ("config", "data", "weights", "state", "metrics")},
        "results": run.results,
        "best": run.record["best"],
        "events": events,
        "fingerprints": (run.path / "fingerprints.jsonl").read_bytes(),
        "predictions": (run.path / "predictions" / "test.csv").read_bytes(),
        "checkpoint": checkpoint.load(run.path / "checkpoints" / f"step-{events[-1]['step']:08d}").step,
    }


@pytest.fixture
def interrupted(run_task: Train, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunFolder]:
    """A run that was interrupted after a step, in this process."""

    def call(at: int, **settings: Any) -> RunFolder:
        from deepdiva.experiments import train as module

        monkeypatch.setattr(module, "SilentProgress", lambda: Interrupting(at))
        with pytest.raises(KeyboardInterrupt):
            run_task(**settings)
        monkeypatch.setattr(module, "SilentProgress", SilentProgress)
        newest = max(Path("runs").glob("*/*/run.json"), key=lambda path: path.stat().st_mtime_ns)
        return RunFolder.open(newest.parent)

    return call


SCHEDULERS = [
    "OneCycleLR",
    {"class": "StepLR", "step_size": 1},
    {"class": "MultiStepLR", "milestones": [1, 2]},
    {"class": "ReduceLROnPlateau", "patience": 0},
    {"class": "CosineAnnealingWarmRestarts", "T_0": 4, "interval": "step"},
]


@pytest.mark.parametrize(("scheduler", "at"), [*zip(SCHEDULERS, (1, 6, 9, 12, 17), strict=True)], ids=str)
def test_a_resumed_run_is_the_run_that_never_stopped(interrupted: Any, run_task: Train, scheduler: Any, at: int):
    whole = run_task(scheduler=scheduler)
    broken = interrupted(at, scheduler=scheduler)
    assert broken.status == "interrupted"
    assert broken.results == {}
    finished = resume(broken)
    assert evidence(finished) == evidence(whole)
    assert finished.id == broken.id
    assert len(finished.record["resumed"]) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"workers": 2, "training": {"checkpoint_every": 2}},
        {"precision": "bfloat16", "batch_size": 4, "training": {"accumulate": 3, "clip_norm": 0.5}},
        {"logging": {"figures": "validation", "tensorboard": True, "every": 2}, "task": {"extra_draws": 5}},
        {"epochs": 6, "scheduler": None, "training": {"patience": 1, "validate_every": 2}},
        {"workers": 2, "batch_size": 4, "training": {"ema": 0.9, "accumulate": 2, "patience": 2, "clip_norm": 1.0}},
    ],
    ids=str,
)
def test_whatever_the_settings(interrupted: Any, run_task: Train, settings: dict[str, Any]):
    whole = run_task(**settings)
    finished = resume(str(interrupted(7, **settings).path))
    assert evidence(finished) == evidence(whole)
    if settings.get("logging"):
        pictures = [sorted(run.path.glob("figures/*/noise/*.png")) for run in (whole, finished)]
        assert [path.read_bytes() for path in pictures[0]] == [path.read_bytes() for path in pictures[1]]
        assert len(pictures[0]) == 5


def test_any_number_of_interruptions_may_follow_one_another(interrupted: Any, run_task: Train):
    whole = run_task()
    broken = interrupted(3)
    for at in (1, 4, 5):
        with pytest.raises(KeyboardInterrupt):
            resume(broken, progress=Interrupting(at))
    finished = resume(broken)
    assert evidence(finished) == evidence(whole)
    assert len(finished.record["resumed"]) == 4


def test_a_flipped_bit_costs_one_checkpoint_and_no_bit_of_the_result(interrupted: Any, run_task: Train):
    whole = run_task(training={"checkpoint_every": 2})
    broken = interrupted(11, training={"checkpoint_every": 2})
    weights = broken.path / "checkpoints" / "step-00000011" / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[len(damaged) * 2 // 3] ^= 8
    weights.write_bytes(damaged)
    watching = Interrupting(-1)
    finished = resume(broken, progress=watching)
    assert "passed over a broken checkpoint" in watching.lines[0]
    assert any(line.endswith("at step 10") for line in watching.lines)
    assert evidence(finished) == evidence(whole)


def test_without_any_whole_checkpoint_it_begins_anew(interrupted: Any, run_task: Train):
    broken = interrupted(2)
    for manifest in broken.path.glob("checkpoints/*/manifest.json"):
        manifest.unlink()
    assert evidence(resume(broken)) == evidence(run_task())


# -- checkpoints whose files fit their checksums and that hold something else ---------------------------------------

Forgery = Callable[[dict[str, torch.Tensor], dict[str, Any]], Any]


class Weights:
    """What is saved in place of a model."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        self._state = state

    def state_dict(self) -> dict[str, torch.Tensor]:
        return self._state


def forge(path: Path, change: Forgery, *, with_digests: bool) -> None:
    """Writes a checkpoint anew, with other content and checksums that fit it."""
    saved = checkpoint.load(path)
    change(saved.model, saved.training)
    if with_digests:
        weights = state_digest(saved.model)
        parts = {name: saved.training.get(name) for name in ("optimizer", "schedule", "scaler", "average")}
        saved.training["digests"] = {"weights": weights, "state": state_digest({"weights": weights, **parts})}
    shutil.rmtree(path)
    checkpoint.save(path.parent, saved.step, Weights(saved.model), saved.training, Storage())  # type: ignore[arg-type]


def put(*keys: Any) -> Forgery:
    """Puts the last of `keys` into the training at the place that the others name."""

    def change(_: Any, training: Any) -> None:
        for key in keys[:-2]:
            training = training[key]
        training[keys[-2]] = keys[-1]

    return change


def without(*keys: Any) -> Forgery:
    """Takes away what `keys` name."""

    def change(_: Any, training: Any) -> None:
        for key in keys[:-1]:
            training = training[key]
        del training[keys[-1]]

    return change


def reshaped(name: str) -> Forgery:
    return lambda model, _: model.update({name: torch.zeros(3, 3)})


FIRST = "hidden.0.weight"
# What no model is needed to tell: the run is not touched at all.
BEFORE: dict[str, tuple[Forgery, str]] = {
    "no optimizer": (without("optimizer"), "optimizer: a mapping belongs there, and it is nothing"),
    "a list of optimizers": (put("optimizer", [1]), "optimizer: a mapping belongs there, and it is a list of 1"),
    "a text for a schedule": (put("schedule", "x"), "schedule: a mapping belongs there, and it is 'x'"),
    "no position": (without("position"), "position: a mapping"),
    "a text for an epoch": (put("position", "epoch", "two"), "position.epoch: a count belongs there, and it is 'two'"),
    "a truth value for a step": (put("position", "step", True), "position.step: a count belongs there, and it is True"),
    "a negative place": (put("position", "step_in_epoch", -1), "position.step_in_epoch: a count"),
    "another step": (put("position", "step", 3), "position.step: is 3 in a checkpoint of step 9"),
    "a field too many": (put("position", "speed", 3), "position has no 'speed'"),
    "a text for the best": (put("position", "best_value", "0.9"), "position.best_value: a number, or nothing,"),
    "no average": (put("average", [1]), "average: a mapping belongs there"),
    "numbers for an average": (put("average", "model", {"a": 1}), "average.model: a mapping of tensors"),
    "a text for its steps": (put("average", "steps", "7"), "average.steps: a count"),
    "no sums": (without("sums"), "sums: a mapping of size and totals"),
    "texts for sums": (put("sums", "totals", "loss", "much"), "sums.totals: a mapping of numbers"),
    "sums of nothing": (put("sums", "size", 0), "sums.size: a count of samples"),
    "no logs": (without("logs"), "logs.events: a count of bytes"),
    "a text for a place in a log": (put("logs", "events", "0"), "logs.events: a count of bytes"),
    "a place within a record": (put("logs", "fingerprints", 5), "no record ends at byte 5"),
    "the beginning of a log": (put("logs", "events", 0), "byte 0 of events.jsonl is not where step 9 ended"),
    "no digests": (put("digests", "abc"), "the weights do not have the digest"),
}
# What the model and all that steps it must be there for.
AFTER: dict[str, tuple[Forgery, str]] = {
    "a weight missing": (lambda model, _: model.pop(FIRST), f"missing: {FIRST}"),
    "a weight too many": (lambda model, _: model.update(more=torch.zeros(1)), "not in the model: more"),
    "another shape": (reshaped(FIRST), f"{FIRST}: the model has shape [16, 4], the file [3, 3]"),
    "another type": (lambda model, _: model.update({FIRST: model[FIRST].double()}), "torch.float64"),
    "an average of another shape": (put("average", "model", FIRST, torch.zeros(2)), f"average: {FIRST}: the model has"),
    "an empty optimizer": (put("optimizer", {}), "optimizer.param_groups: a list of 1 mappings"),
    "groups of texts": (put("optimizer", "param_groups", ["a"]), "optimizer.param_groups: a list of 1 mappings"),
    "two groups": (lambda _, it: it["optimizer"]["param_groups"].append({"lr": 1.0}), "and it is a list of 2"),
    "another parameter": (
        put("optimizer", "param_groups", 0, "params", [9]),
        "param_groups.0.params: the numbers of 4",
    ),
    "a text for a rate": (
        put("optimizer", "param_groups", 0, "lr", "fast"),
        "lr: a number belongs there, and it is 'fast'",
    ),
    "no rate": (without("optimizer", "param_groups", 0, "lr"), "optimizer.param_groups.0.lr: is missing"),
    "one beta": (put("optimizer", "param_groups", 0, "betas", [0.9]), "betas: holds 1 values, where 2 belong"),
    "a list for its state": (put("optimizer", "state", [1]), "optimizer.state: a mapping"),
    "a parameter too many": (
        put("optimizer", "state", 9, {"step": 1.0}),
        "optimizer.state.9: is of none of the 4 parameters",
    ),
    "a number for an entry": (put("optimizer", "state", 0, 1), "optimizer.state.0: a mapping"),
    "a moment of another shape": (
        put("optimizer", "state", 0, "exp_avg", torch.zeros(3)),
        "exp_avg: a tensor [16, 4] of float32 belongs there, and it is a tensor [3] of float32",
    ),
    "a text for a moment": (put("optimizer", "state", 0, "exp_avg_sq", "x"), "exp_avg_sq: a tensor [16, 4] of float32"),
    "a text for a count": (put("optimizer", "state", 0, "step", "x"), "optimizer.state.0.step: one number"),
    "a moment missing": (without("optimizer", "state", 0, "exp_avg"), "does not hold the same of every parameter"),
    "a text for an age": (put("schedule", "last_epoch", "x"), "schedule.last_epoch: a number belongs there"),
    "no base rates": (put("schedule", "base_lrs", []), "schedule.base_lrs: holds 0 values, where 1 belong"),
    "a number for a method": (put("schedule", "step", 3), "schedule.step: is no part of a schedule's state"),
    "a late place": (put("position", "step_in_epoch", 99), "position.step_in_epoch: is 99, and may be 6 at most"),
}


def refusal(run: RunFolder, place: Path, change: Forgery, *, with_digests: bool) -> UserError:
    """What is said of a forged checkpoint, which is put back afterwards."""
    kept = place.with_name("kept")
    shutil.copytree(place, kept)
    forge(place, change, with_digests=with_digests)
    with pytest.raises(UserError) as caught:
        resume(run)
    shutil.rmtree(place)
    kept.rename(place)
    return caught.value


def content(run: RunFolder) -> dict[str, bytes]:
    files = [path for path in run.path.rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in files}


def check_said(error: UserError, place: Path, expected: str) -> None:
    assert error.exit_code == 2
    assert error.message.startswith(f"{place}: its files fit their checksums, but no training can go on from it")
    assert expected in error.message
    assert error.hint is not None
    assert "remove the folder" in error.hint


def test_a_checkpoint_that_is_no_state_is_refused_before_the_run_is_touched(interrupted: Any):
    run = interrupted(9, training={"ema": 0.9})
    place = run.path / "checkpoints" / "step-00000009"
    before = content(run)
    for name, (change, expected) in BEFORE.items():
        error = refusal(run, place, change, with_digests=name != "no digests")
        check_said(error, place, expected)
        assert content(run) == before, name
    for name, (change, _) in AFTER.items():
        if name != "a late place":  # which is no part of the digest
            error = refusal(run, place, change, with_digests=False)
            check_said(error, place, "not have the digest that was kept with them")
            assert content(run) == before, name


def test_a_state_that_does_not_fit_is_refused_and_the_run_stays_as_it_was(interrupted: Any, run_task: Train):
    run = interrupted(9, training={"ema": 0.9})
    place = run.path / "checkpoints" / "step-00000009"
    for name, (change, expected) in AFTER.items():
        check_said(refusal(run, place, change, with_digests=True), place, expected)
        assert RunFolder.open(run.path).record == run.record, name
    assert evidence(resume(run)) == evidence(run_task(training={"ema": 0.9}))


def test_without_the_refused_checkpoint_the_run_goes_on_from_the_one_before(interrupted: Any, run_task: Train):
    run = interrupted(9)
    place = run.path / "checkpoints" / "step-00000009"
    forge(place, reshaped(FIRST), with_digests=True)
    with pytest.raises(UserError, match="remove the folder"):
        resume(run)
    shutil.rmtree(place)
    watching = Interrupting(-1)
    assert evidence(resume(run, progress=watching)) == evidence(run_task())
    assert any(line.endswith("at step 6") for line in watching.lines)


def test_a_forged_checkpoint_proves_nothing_and_is_not_needed_for_it(interrupted: Any, run_task: Train):
    run = interrupted(12)  # nothing is known of step 13: step 7 would be done again, from the checkpoint before it
    forge(run.path / "checkpoints" / "step-00000006", without("optimizer"), with_digests=True)
    finished = resume(run)
    assert "proved" not in finished.record["resumed"][-1]
    assert evidence(finished) == evidence(run_task())


def test_a_failed_run_goes_on_once_the_cause_is_gone(run_task: Train):
    whole = run_task()
    task = Path("trembling.py")
    good = task.read_text()
    failing = 'return {"accuracy"'
    bad = 'if evaluation.epoch == 2 and pathlib.Path("obstacle").exists():\n            raise LookupError\n        '
    Path("failing.py").write_text("import pathlib\n" + good.replace(failing, bad + failing))
    Path("obstacle").touch()
    with pytest.raises(LookupError):
        run_task(task={"class": "failing.py:Trembling"})
    (failed,) = (run for run in map(RunFolder.open, Path("runs").glob("*/*")) if run.status == "failed")
    Path("obstacle").unlink()
    finished = resume(failed)
    assert finished.record["error"] is None
    without_config = [{**evidence(run)["digests"], "config": None} for run in (finished, whole)]
    assert without_config[0] == without_config[1]


def test_a_resume_with_other_code_says_so_and_records_it(interrupted: Any):
    run = interrupted(2)
    Path("notes.py").write_text("changed = True\n")
    watcher = Interrupting(-1)
    folder = resume(run, progress=watcher)
    assert any("code is not what the run was started with" in line for line in watcher.lines)
    assert folder.record["resumed"][-1]["code"] != folder.digests["code"]


# -- the step that is done again ----------------------------------------------------------------------------------


def cut_off_after(run: RunFolder, step: int) -> None:
    """Takes away the checkpoints after a step, as if the run had been killed before the next was kept."""
    for path in run.path.glob("checkpoints/step-*"):
        if int(path.name[5:]) > step:
            shutil.rmtree(path)


@pytest.mark.parametrize(("left", "done_again"), [(12, 7), (6, 7)])
def test_a_resume_does_one_step_again_and_records_that_it_is_the_same(
    interrupted: Any, run_task: Train, left: int, done_again: int
):
    broken = interrupted(12)  # of six steps an epoch; nothing is known of step 13, so step 7 is done again from step 6
    cut_off_after(broken, left)
    watcher = Interrupting(-1)
    finished = resume(broken, progress=watcher)
    said = f"step {done_again}, done again, is the same bit for bit (batch, loss, state)"
    assert watcher.lines.count(said) == 1
    assert said in (finished.path / "log.txt").read_text()
    [entry] = finished.record["resumed"]
    assert entry["proved"] == {"step": done_again, "same": True, "what": "batch, loss, state"}
    assert evidence(finished) == evidence(run_task())


@pytest.mark.parametrize("left", [12, 6])
@pytest.mark.parametrize("changed_code", [False, True])
def test_a_step_that_is_another_when_done_again_lowers_the_level(
    interrupted: Any, monkeypatch: pytest.MonkeyPatch, left: int, changed_code: bool
):
    broken = interrupted(12)
    cut_off_after(broken, left)
    if changed_code:
        Path("notes.py").write_text("changed = True\n")
    real = StepDigest.__call__
    monkeypatch.setattr(StepDigest, "__call__", lambda self: [number + 1 for number in real(self)])
    amend(broken.path, determinism={**broken.record["determinism"], "granted": "repeatable"})
    watcher = Interrupting(-1)
    finished = resume(broken, progress=watcher)
    assert finished.status == "completed"
    assert finished.record["resumed"][-1]["proved"] == {"step": 7, "same": False, "what": "state"}
    assert finished.record["determinism"]["granted"] == "seeded"
    assert "step 7, done again after an interruption, was another (state)" in finished.record["determinism"]["reasons"]
    [said] = [line for line in watcher.lines if "step 7, done again, is not what it was (state): " in line]
    assert ("as other code may make it" in said) is changed_code
    assert sum("code is not what" in line for line in watcher.lines) == changed_code


def test_a_completed_run_is_not_resumed(run_task: Train):
    with pytest.raises(UserError, match="is completed"):
        resume(run_task(epochs=0))


def test_no_run_no_resume(tmp_path: Path):
    with pytest.raises(UserError, match="not a run folder"):
        resume(tmp_path / "nothing")


def test_another_configuration_is_another_run(interrupted: Any):
    broken = interrupted(4)
    path = broken.path / "config.yaml"
    path.write_text(path.read_text().replace("epochs: 3", "epochs: 5"))
    with pytest.raises(UserError, match=r"another configuration|is damaged"):
        resume(broken)
    path.write_text(path.read_text().replace("epochs: 5", "epochs: 3"))
    assert resume(broken).status == "completed"


def test_other_data_are_another_run(interrupted: Any, tmp_path: Path):
    folder = tmp_path / "set"
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
        rows = "".join(f"{place % 2}.{place},{place},{place % 2}\n" for place in range(20))
        (folder / split / "data.csv").write_text(f"x,y,label\n{rows}")
    settings = {"task": {"class": "points"}, "data": str(folder), "epochs": 2, "batch_size": 8}
    broken = interrupted(2, **settings)
    table = folder / "val" / "data.csv"
    before = table.read_text()
    table.write_text(before + "3,3,1\n")
    with pytest.raises(UserError, match=r"another data set|has changed"):
        resume(broken)
    with pytest.raises(UserError, match=r"another data set|has changed"):
        resume(broken)  # it does not pass by being tried again
    table.write_text(before)
    assert resume(broken).status == "completed"


def test_a_resumed_run_is_granted_no_higher_level(interrupted: Any):
    broken = interrupted(2)
    amend(broken.path, determinism={**broken.record["determinism"], "granted": "seeded"})
    assert resume(broken.path).record["determinism"]["granted"] == "seeded"


# -- processes of their own ---------------------------------------------------------------------------------------


def wait_for(child: Any, steps: int) -> None:
    """Until a child has kept a checkpoint at some step or later; it fails loudly if it ends before."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        done = [int(path.parent.name[5:]) for path in child.runs.glob("*/*/checkpoints/*/manifest.json")]
        if done and max(done) >= steps:
            return
        assert child.process.poll() is None, child.process.communicate()[1]
        time.sleep(0.01)
    raise AssertionError("the child came nowhere")


@pytest.mark.slow
def test_a_process_of_its_own_gives_the_same_bits(run_task: Train, start: Start):
    child = start("--json")
    out, err = child.process.communicate(timeout=120)
    assert child.process.returncode == 0, err
    run = RunFolder.open(json.loads(out)["path"])
    assert run.record["determinism"]["granted"] == "invariant"
    assert evidence(run) == evidence(run_task())


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_to_every_process_ends_a_step_and_a_resume_gives_the_same_bits(
    run_task: Train, start: Start, number: signal.Signals, code: int
):
    # As a terminal and a scheduler do it: to the whole group, the processes that load data included.
    child = start("--workers", "2", "--pause", "0.004")
    wait_for(child, 6)
    os.killpg(child.process.pid, number)
    _, err = child.process.communicate(timeout=120)
    assert child.process.returncode == code, err
    assert "deepdiva resume" in err
    broken = RunFolder.open(child.run)
    assert broken.status == "interrupted"
    assert evidence(resume(broken)) == evidence(run_task(task={"pause": 0.004}))


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(2))
def test_a_kill_at_any_moment_costs_no_bit(run_task: Train, start: Start, moment: int):
    child = start("--pause", "0.002", "--checkpoint-every", "2", "--figures", "validation")
    wait_for(child, 4 * moment)
    time.sleep(random.random() * 0.3)
    child.process.kill()
    child.process.communicate()
    assert child.run is not None
    broken = RunFolder.open(child.run)
    assert broken.status == "interrupted"  # the record still says `running`, but its process is gone
    settings = {"task": {"pause": 0.002}, "training": {"checkpoint_every": 2}, "logging": {"figures": "validation"}}
    assert evidence(resume(broken)) == evidence(run_task(**settings))
