"""A run from its first call to its last: recorded before it begins, marked as it ends, whole whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from deepdiva.errors import RunFailed, UserError
from deepdiva.runs import Run, RunFolder, find_runs
from deepdiva.runs.creation import claimed
from deepdiva.runs.index import rows
from deepdiva.runs.record import amend
from deepdiva.runs.storage import Storage, StorageError
from deepdiva.runs.verification import verify

CONFIG = {"lr": 1e-5, "optimizer": {"class": "AdamW"}}


def steps(count, start=0):
    return [
        {"step": step, "epoch": 0, "values": {"train/loss": 1 / (step + 1)}, "time": 1e9 + step}
        for step in range(start, start + count)
    ]


def fingerprints(count, start=0):
    return [{"step": step, "batch": f"{step:08x}"} for step in range(start, start + count)]


def tell(run):
    """A short run: everything that a run can write, and two synchronised moments."""
    run.log_block(steps(10))
    run.fingerprint_block(fingerprints(10))
    run.sync()
    run.figure("val/confusion", Image.new("L", (3, 3)), 9)
    run.log(9, {"val/loss": 0.5}, epoch=1)
    run.print_log("epoch 1 is done")
    run.write_predictions("test", {"id": ["a"], "truth": [1]})
    run.record_test_read("step-00000009")
    run.sync()
    run.record(results={"test/accuracy": 0.5})


def work_and_fail(run, error):
    run.log(1, {"loss": 1.0})
    raise error


def test_it_is_recorded_before_the_first_step(create):
    run = create(
        config=CONFIG, seed=0, command=["deepdiva", "run"], task="points", data="moons", kind="study", parent="p"
    )
    folder = RunFolder.open(run.path)
    assert folder.status == "running"
    assert {name: folder.record[name] for name in ("seed", "command", "task", "data", "kind", "parent")} == {
        "seed": 0, "command": ["deepdiva", "run"], "task": "points", "data": "moons", "kind": "study", "parent": "p",
    }  # fmt: skip
    assert set(folder.digests) == {"config", "code", "environment"}
    assert folder.config() == CONFIG
    assert (run.path / "code" / "code.json").exists()
    assert (run.path / "environment" / "environment.json").exists()
    assert run.path.is_absolute()
    assert run.facts == folder.record


def test_its_folder_holds_what_was_told(create):
    with create(config=CONFIG) as run:
        tell(run)
        run.write_data([], {"val": ["a"]}, {"mean": 0.5})
    folder = RunFolder.open(run.path)
    assert (folder.status, folder.results) == ("completed", {"test/accuracy": 0.5})
    assert [event["step"] for event in folder.events("train/loss")] == list(range(10))
    assert [event["epoch"] for event in folder.events("val/loss")] == [1]
    assert len(list(folder.fingerprints())) == 10
    assert folder.predictions("test") == {"id": ["a"], "truth": ["1"]}
    assert set(folder.digests) == {"config", "code", "environment", "data", "metrics"}
    assert folder.record["test_reads"][0]["checkpoint"] == "step-00000009"
    assert (run.path / "figures" / "val" / "confusion" / "00000009.png").exists()
    assert (run.path / "log.txt").read_text().endswith("Z epoch 1 is done\n")
    board = EventAccumulator(str(run.path / "tensorboard")).Reload()
    assert len(board.Scalars("train/loss")) == 10
    assert board.Tags()["images"] == ["val/confusion"]
    assert "_hparams_/session_start_info" in board.PluginTagToContent("hparams")
    assert not list(run.path.rglob("*.tmp"))


def test_a_run_without_tensorboard(create):
    with create(tensorboard=False) as run:
        tell(run)
    assert not (run.path / "tensorboard").exists()


def test_the_seed_and_the_leave_to_be_dirty_come_from_the_configuration(create, project):
    (project / "new.py").write_text("")
    with pytest.raises(UserError, match=r"new\.py"):
        create(config={"seed": 7})
    assert create(config={"seed": 7, "allow_dirty": True}).facts["seed"] == 7
    assert create(seed=3, allow_dirty=True).facts["seed"] == 3


def test_uncommitted_code_is_refused_before_anything_is_made(create, project, tmp_path):
    (project / "README.md").write_text("changed")
    with pytest.raises(UserError, match=r"README\.md") as caught:
        create()
    assert caught.value.hint is not None
    assert "--allow-dirty" in caught.value.hint
    assert not (tmp_path / "runs").exists()


def test_code_and_environment_are_really_captured(project):
    with Run.create("points") as run:
        run.log(1, {"loss": 1})
    assert json.loads((run.path / "code" / "code.json").read_text())["git"]["commit"]
    assert (run.path / "environment" / "pylock.toml").exists()
    assert run.path.parent == project / "runs" / "points"


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), "interrupted"), (RuntimeError("out of memory"), "failed"), (RunFailed("nan"), "failed")],
)
def test_how_it_ends(create, error, status):
    with pytest.raises(type(error)), create() as run:
        work_and_fail(run, error)
    folder = RunFolder.open(run.path)
    assert folder.status == status
    assert len(list(folder.events())) == 1
    assert folder.duration is not None
    assert folder.record["finished"]
    if status == "failed":
        assert str(error) in folder.record["error"]["message"]
        assert str(error) in (run.path / "log.txt").read_text()


def test_a_crash_before_the_first_event_is_kept_with_its_traceback(create):
    with pytest.raises(ZeroDivisionError), create() as run:
        1 / 0  # noqa: B018
    record = RunFolder.open(run.path).record
    assert record["status"] == "failed"
    assert "test_a_crash_before_the_first_event" in record["error"]["traceback"]


def test_a_mistake_of_the_user_before_the_first_event_leaves_nothing(create, tmp_path):
    with pytest.raises(UserError, match="no such data"), create():
        raise UserError("no such data")
    assert not (tmp_path / "runs").exists()


def test_a_mistake_of_the_user_later_is_kept(create):
    with pytest.raises(UserError, match="wrong"), create() as run:
        work_and_fail(run, UserError("wrong"))
    assert RunFolder.open(run.path).status == "failed"


def test_a_run_that_failed_at_once_is_no_mistake_of_the_user(create):
    with pytest.raises(RunFailed), create() as run:
        raise RunFailed("the loss is nan")
    assert RunFolder.open(run.path).status == "failed"


def test_a_crash_while_capturing_is_kept_and_a_refusal_is_not(create, monkeypatch, tmp_path):
    from deepdiva.runs import environment

    def crash(*arguments, **settings):
        raise failure

    monkeypatch.setattr(environment, "capture", crash)
    failure: Exception = UserError("no")
    with pytest.raises(UserError, match="no"):
        create()
    assert not (tmp_path / "runs").exists()
    failure = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug"):
        create()
    (folder,) = find_runs(tmp_path / "runs")
    assert folder.status == "failed"


def test_it_ends_once(create):
    run = create()
    run.log(1, {"loss": 1.0})
    run.finish()
    first = (run.path / "run.json").read_bytes()
    run.finish(ValueError("too late"))
    assert (run.path / "run.json").read_bytes() == first


def test_facts_are_merged(create):
    run = create()
    run.record(digests={"weights": "w"}, best={"epoch": 1, "value": 0.5})
    run.record(digests={"state": "s"}, best={"epoch": 2, "value": 0.6}, results={"a": 1.0})
    record = RunFolder.open(run.path).record
    assert record["digests"] == {"code": "c0de", "environment": "e4e4", "weights": "w", "state": "s"}
    assert record["best"] == {"epoch": 2, "value": 0.6}


def test_a_bad_experiment_name(create, tmp_path):
    with pytest.raises(UserError, match=r"'\.\./x' cannot name an experiment"):
        create("../x")
    assert not (tmp_path / "runs").exists()


def test_a_file_in_the_way(create, tmp_path):
    (tmp_path / "runs").write_text("mine")
    with pytest.raises(StorageError, match="a file has that name"):
        create()
    assert (tmp_path / "runs").read_text() == "mine"


# -- resume ----------------------------------------------------------------------------------------------------------


def interrupted(create, **settings):
    """A run that was interrupted behind its checkpoint at step 10, and what `sync` gave there."""
    run = create(**settings)
    run.log_block(steps(10))
    run.fingerprint_block(fingerprints(10))
    run.figure("val/confusion", Image.new("L", (3, 3)), 9)
    positions = run.sync()
    run.log_block(steps(5, start=10))
    run.fingerprint_block(fingerprints(5, start=10))
    run.figure("val/confusion", Image.new("L", (3, 3)), 14)
    run.finish(KeyboardInterrupt())
    return run, positions


def test_a_resumed_run_equals_one_that_never_stopped(create):
    with create() as whole:
        whole.log_block(steps(20))
        whole.fingerprint_block(fingerprints(20))
    run, positions = interrupted(create)
    (run.path / ".run.json.1.tmp").write_text("a kill left this")
    with Run.reopen(run.path, positions=positions) as again:
        assert RunFolder.open(run.path).status == "running"
        again.log_block(steps(10, start=10))
        again.fingerprint_block(fingerprints(10, start=10))
    for name in ("events.jsonl", "fingerprints.jsonl"):
        assert (run.path / name).read_bytes() == (whole.path / name).read_bytes()
    folder = RunFolder.open(run.path)
    assert folder.status == "completed"
    assert len(folder.record["resumed"]) == 1
    assert folder.digests["metrics"] == RunFolder.open(whole.path).digests["metrics"]
    board = EventAccumulator(str(run.path / "tensorboard")).Reload()
    assert [point.step for point in board.Scalars("train/loss")] == list(range(20))
    assert [image.step for image in board.Images("val/confusion")] == [9]
    assert not list(run.path.glob("*.tmp"))


def test_a_run_without_a_checkpoint_begins_anew(create):
    run, _ = interrupted(create)
    with Run.reopen(run.path, positions=None):
        assert list(RunFolder.open(run.path).events()) == []
    assert RunFolder.open(run.path).record["id"] == run.id


def test_the_time_worked_adds_up(create):
    run, positions = interrupted(create)
    amend(run.path, duration=100.0)
    with Run.reopen(run.path, positions=positions):
        pass
    duration = RunFolder.open(run.path).duration
    assert duration is not None
    assert 100 < duration < 200


@pytest.mark.parametrize("status", ["interrupted", "failed", "running"])
def test_a_resume_that_is_refused_leaves_the_run_as_it_was(create, status):
    run, positions = interrupted(create)
    amend(run.path, status=status, pid=2**31 - 1)  # of no process
    before = RunFolder.open(run.path)
    with pytest.raises(UserError, match="the data have changed"), Run.reopen(run.path, positions=positions) as taken:
        taken.record(determinism={"granted": "seeded"})
        raise UserError("the data have changed")
    after = RunFolder.open(run.path)
    assert after.status == before.status
    kept = {name: value for name, value in before.record.items() if name not in ("status", "duration")}
    assert {name: value for name, value in after.record.items() if name not in ("status", "duration")} == kept
    assert "the data have changed" in (run.path / "log.txt").read_text()
    assert all(part.state != "damaged" for part in verify(run.path))


@pytest.mark.parametrize("error", [RunFailed("the loss is nan"), ValueError("no"), UserError("a mistake later on")])
def test_a_resume_that_goes_on_and_fails_is_failed(create, error):
    run, positions = interrupted(create)
    with pytest.raises(type(error)), Run.reopen(run.path, positions=positions) as taken:
        if type(error) is UserError:
            taken.log(99, {"loss": 0.5})
        raise error
    after = RunFolder.open(run.path)
    assert after.status == "failed"
    assert len(after.record["resumed"]) == 1


def test_a_run_at_work_is_not_taken_up(create):
    run = create()
    with pytest.raises(UserError, match=f"is still running .process {os.getpid()}"):
        Run.reopen(run.path, positions=None)


def test_of_two_that_resume_at_once_one_is_refused(create):
    run, positions = interrupted(create)
    with ThreadPoolExecutor() as pool:
        with claimed(run.path):
            attempts = [pool.submit(Run.reopen, run.path, positions=positions) for _ in range(2)]
            assert not any(attempt.done() for attempt in attempts)
        errors = [attempt.exception() for attempt in attempts]
    assert sorted(type(error).__name__ for error in errors) == ["NoneType", "UserError"]
    assert len(RunFolder.open(run.path).record["resumed"]) == 1


def test_a_run_without_tensorboard_stays_without(create):
    run, positions = interrupted(create, tensorboard=False)
    with Run.reopen(run.path, positions=positions) as again:
        again.log(11, {"loss": 1.0})
    assert not (run.path / "tensorboard").exists()


# -- faults ----------------------------------------------------------------------------------------------------------


def count_calls(disks, create):
    system = disks.FaultySystem()
    with create(config=CONFIG, storage=Storage(system)) as run:
        tell(run)
    return system.count


def check_readable(runs_dir):
    """Every run there can be listed and read; what is there of its logs is the beginning of what was told."""
    listed = rows(runs_dir)
    folders = list(find_runs(runs_dir))
    assert len(listed) == len(folders)
    for folder in folders:
        assert folder.status in ("running", "completed", "failed", "interrupted")
        events = list(folder.events())
        assert [event["step"] for event in events] == [*range(10), 9][: len(events)]
        steps_seen = [record["step"] for record in folder.fingerprints()]
        assert steps_seen == list(range(10))[: len(steps_seen)]
        if folder.status == "completed":
            assert len(events) == 11
            assert folder.results == {"test/accuracy": 0.5}
        if (folder.path / "config.yaml").exists():
            assert folder.config() == CONFIG
    return folders


def test_a_kill_at_any_call_leaves_folders_that_can_be_read_and_resumed(disks, create, tmp_path):
    ends = set()
    for at in range(count_calls(disks, create)):
        runs_dir = tmp_path / f"killed-{at}"
        with contextlib.suppress(disks.Killed):
            run = create(runs_dir=runs_dir, config=CONFIG, storage=Storage(disks.FaultySystem(at, "kill")))
            with contextlib.suppress(disks.Killed), run:
                tell(run)
        for folder in check_readable(runs_dir):
            ends.add(folder.status)
            forget_the_process(folder)
            with Run.reopen(folder.path, positions=None, storage=Storage(disks.FaultySystem())) as again:
                tell(again)
            (whole,) = check_readable(runs_dir)
            assert whole.status == "completed"
    assert "running" in ends


def forget_the_process(folder):
    """In these tests the process that was "killed" is this one, which lives."""
    amend(folder.path, pid=0)


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("fault", ["ENOSPC", "EIO"])
def test_an_error_at_any_call_is_told_and_leaves_folders_that_can_be_read(disks, create, tmp_path, fault, lasting):
    for at in range(count_calls(disks, create)):
        runs_dir = tmp_path / f"{fault}-{lasting}-{at}"
        storage = Storage(disks.FaultySystem(at, fault, lasting=lasting))
        with (
            pytest.raises(StorageError, match="cannot write"),
            create(runs_dir=runs_dir, config=CONFIG, storage=storage) as run,
        ):
            tell(run)
        for folder in check_readable(runs_dir):
            # The last thing to fail may be the durability of the last mark: then all is there, if not for sure.
            assert lasting or folder.status == "failed"


def test_short_writes_change_nothing(disks, create, tmp_path):
    for at in range(0, count_calls(disks, create), 3):
        runs_dir = tmp_path / f"short-{at}"
        storage = Storage(disks.FaultySystem(at, "short", lasting=True))
        with create(runs_dir=runs_dir, config=CONFIG, storage=storage) as run:
            tell(run)
        (folder,) = check_readable(runs_dir)
        assert folder.status == "completed"


def test_a_power_cut_at_any_call_leaves_folders_that_can_be_read(disks, create, tmp_path):
    tape = disks.Tape()
    marks = []
    with create(config=CONFIG, storage=Storage(tape)) as run:
        tell(run)
        marks.append(len(tape.calls))
    seen = set()
    for number, (end, disk) in enumerate(disks.power_cuts(tape.calls)):
        state = frozenset(disk.items())
        if state in seen:
            continue
        seen.add(state)
        target = tmp_path / f"cut-{number}"
        disks.play(disk, tmp_path / "runs", target)
        folders = check_readable(target)
        if end >= marks[0]:
            assert len(list(folders[0].events())) == 11
    assert len(seen) > 50


def test_a_killed_process_leaves_an_interrupted_run_with_what_it_had_flushed(tmp_path):
    program = """
import time
from deepdiva.runs import Run
run = Run.create("killed", allow_dirty=True)
run.log(1, {"loss": 0.5})
run.flush()
run.log(2, {"loss": 0.25})
print(run.path, flush=True)
time.sleep(600)
"""
    child = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    path = Path(child.stdout.readline().strip())
    assert RunFolder.open(path).status == "running"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    folder = RunFolder.open(path)
    assert folder.status == "interrupted"
    assert [event["step"] for event in folder.events()] == [1]
    with Run.reopen(path, positions=None) as run:
        run.log(1, {"loss": 0.5})
    assert RunFolder.open(path).status == "completed"


def test_a_block_of_events_is_cheap(create):
    """No limit on time, which would measure the machine: a block must not cost one call to the disk an event."""
    calls = []

    class Counting(Storage):
        def append(self, path, data, *, at):
            calls.append(path.name)
            super().append(path, data, at=at)

    with create(storage=Counting()) as run:
        calls.clear()
        began = time.monotonic()
        for start in range(0, 6400, 64):
            run.log_block(steps(64, start))
            run.fingerprint_block(fingerprints(64, start))
        seconds = time.monotonic() - began
        assert len(calls) <= 3 * (1 + seconds / 3)
