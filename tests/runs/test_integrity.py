"""The manifest: true at every moment, complete when the run has ended, and no gate for reading."""

from __future__ import annotations

import contextlib
import json

import pytest
from PIL import Image

from deepdiva.runs import Run, RunFolder, integrity
from deepdiva.runs.integrity import Entry, Manifest, encode, manifest_of, read_manifest, take, without
from deepdiva.runs.record import amend
from deepdiva.runs.storage import Storage, StorageError
from deepdiva.runs.verification import verify

STEPS = [{"step": step, "epoch": 0, "values": {"loss": 1 / (step + 1)}, "time": 1e9 + step} for step in range(4)]
MADE_UP = ("code", "environment")  # the fixture `create` makes stand-ins of these


def story(create, storage, runs_dir):
    """A run that is interrupted and goes on to its end."""
    run = create(config={"lr": 0.1}, storage=storage, runs_dir=runs_dir)
    with contextlib.suppress(KeyboardInterrupt), run:
        run.write_config({"lr": 0.1, "epochs": 3})
        run.write_data([], {"val": ["a"]}, {"mean": 0.5})
        run.log_block(STEPS)
        places = run.sync()
        run.figure("val/confusion", Image.new("L", (3, 3)), 3)
        raise KeyboardInterrupt
    with Run.reopen(run.path, positions=places, storage=storage) as again:
        again.write_config({"lr": 0.1, "epochs": 3, "patience": None})  # as a newer DeepDIVA may write it
        again.write_data([], {"val": ["a"]}, {"mean": 0.5})
        again.log_block([{**STEPS[3], "step": 4}])
        again.write_predictions("test", {"id": ["a"]})
    return run.path


def damaged(folder):
    return [part for part in verify(folder) if part.state == "damaged" and part.name.partition("/")[0] not in MADE_UP]


def test_it_lists_every_file_when_the_run_has_ended(create, tmp_path):
    path = story(create, Storage(), tmp_path / "runs")
    manifest = manifest_of(path)
    assert manifest is not None
    assert (manifest.complete, manifest.run) == (True, path.name)
    names = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
    assert set(manifest.files) == names - {"run.json", "manifest.json"}
    assert {name.partition("/")[0] for name in names} >= {"figures", "tensorboard", "predictions", "data", "code"}
    assert damaged(path) == []


def test_it_lists_what_stays_from_the_first_step_on(create):
    run = create(config={"lr": 0.1})
    assert manifest_of(run.path) is None
    run.write_data([], {"val": ["a"]}, {})
    manifest = manifest_of(run.path)
    assert manifest is not None
    assert not manifest.complete
    assert set(manifest.files) == {
        "config.yaml", "reproduce.sh", "code/code.json", "environment/environment.json", "data/membership.json",
    }  # fmt: skip


@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), RuntimeError("no")], ids=["end", "Ctrl-C", "crash"])
def test_every_end_is_proved(create, error):
    run = create()
    run.log_block(STEPS)
    run.finish(error)
    assert manifest_of(run.path).complete
    assert damaged(run.path) == []


def test_a_later_fact_about_the_run_leaves_the_proof_valid(create):
    with create() as run:
        run.log_block(STEPS)
    amend(run.path, verdict={"verdict": "BIT-IDENTICAL"})
    assert RunFolder.open(run.path).record["verdict"] == {"verdict": "BIT-IDENTICAL"}
    assert damaged(run.path) == []


def test_a_kill_at_any_call_leaves_a_proof_that_is_true(disks, create, tmp_path):
    system = disks.FaultySystem()
    story(create, Storage(system), tmp_path / "whole")
    for at in range(0, system.count, 2):
        runs_dir = tmp_path / f"killed-{at}"
        with contextlib.suppress(disks.Killed):
            story(create, Storage(disks.FaultySystem(at, "kill")), runs_dir)
        for path in runs_dir.glob("*/*/run.json"):
            assert damaged(path.parent) == []
            list(RunFolder.open(path.parent).events())


def test_a_power_cut_at_any_call_leaves_a_proof_that_is_true(disks, create, tmp_path):
    tape = disks.Tape()
    story(create, Storage(tape), tmp_path / "runs")
    last = len(tape.calls)
    wrong, seen = [], set()
    for number, (end, disk) in enumerate(
        disks.power_cuts(tape.calls, [*range(0, last - 12, 5), *range(last - 12, last + 1)])
    ):
        state = frozenset(disk.items())
        if state in seen:
            continue
        seen.add(state)
        target = tmp_path / f"cut-{number}"
        disks.play(disk, tmp_path / "runs", target)
        for path in target.glob("*/*/run.json"):
            wrong += [(end, part) for part in damaged(path.parent)]
    assert wrong == []
    assert len(seen) > 50


class Hasty(Storage):
    """Lists what is not on the disk yet."""

    def sync_files(self, paths):
        pass


def test_the_test_of_power_cuts_notices_a_proof_before_its_files(disks, create, tmp_path):
    tape = disks.Tape()
    story(create, Hasty(tape), tmp_path / "runs")
    found = []
    for number, (_, disk) in enumerate(disks.power_cuts(tape.calls, [len(tape.calls)])):
        disks.play(disk, tmp_path / "runs", tmp_path / f"cut-{number}")
        for path in (tmp_path / f"cut-{number}").glob("*/*/run.json"):
            found += [part.name for part in damaged(path.parent)]
    assert any(name.startswith(("figures", "tensorboard")) for name in found)


def test_its_bytes_read_back(tmp_path):
    manifest = Manifest({"a/ü": Entry(3, "0" * 64)}, complete=True, run="r")
    (tmp_path / "manifest.json").write_bytes(encode(manifest))
    assert manifest_of(tmp_path) == manifest
    assert manifest_of(tmp_path / "none") is None


@pytest.mark.parametrize("change", [b"", b" ", b"[]", b'{"files": 3}', b'{"files": {"a": 1}, "check": ""}'])
def test_what_is_no_manifest(tmp_path, change):
    (tmp_path / "manifest.json").write_bytes(change)
    with pytest.raises(StorageError):
        manifest_of(tmp_path)


def test_another_way_to_write_the_same_manifest_is_damage(tmp_path):
    content = json.loads(encode(Manifest({"a": Entry(1, "ab")}, run="é")))
    for text in (json.dumps(content), json.dumps(content, indent=1), encode(Manifest(run="é")).decode() + "\n"):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(StorageError, match="does not fit its own check"):
            read_manifest(tmp_path / "manifest.json", within=tmp_path)


def test_a_checkpoint_is_listed_as_its_own_manifest_has_it(tmp_path, monkeypatch):
    step = tmp_path / "checkpoints" / "step-00000001"
    step.mkdir(parents=True)
    (step / "model.safetensors").write_bytes(b"x" * 100)
    (step / "manifest.json").write_bytes(encode(Manifest({"model.safetensors": Entry(100, "known")})))
    read = []
    monkeypatch.setattr(integrity, "measure", lambda path, within: read.append(path.name) or Entry(1, "read"))
    files = take(tmp_path, run="r", known={"gone": Entry(1, "g")}, complete=True).files
    assert files["checkpoints/step-00000001/model.safetensors"] == Entry(100, "known")
    assert files["gone"] == Entry(1, "g")
    assert read == ["manifest.json"]


def test_a_file_is_taken_off_before_it_changes():
    manifest = Manifest({"a": integrity.Entry(1, "x"), "b": Entry(3, integrity.hashlib.sha256(b"abc").hexdigest())})
    assert without(manifest, "c") is manifest
    assert without(manifest, "b", unless=b"abc") is manifest
    assert set(without(manifest, "b", unless=b"abd").files) == {"a"}
    assert set(without(manifest, "a").files) == {"b"}


def test_what_is_read_is_proved(create):
    with create(config={"lr": 0.1}) as run:
        run.log_block(STEPS)
        run.write_predictions("test", {"id": ["a"], "score": [0.5]})
    folder = RunFolder.open(run.path)
    table = run.path / "predictions" / "test.csv"
    table.write_text(table.read_text().replace("0.5", "0.6"))
    with pytest.raises(StorageError, match=r"test\.csv is damaged: it does not have the SHA-256"):
        folder.predictions("test")
    (run.path / "config.yaml").write_text("lr: 0.10\n")
    with pytest.raises(StorageError, match=r"config\.yaml is damaged: it has 9 bytes, and 8 were written"):
        folder.config()
    events = run.path / "events.jsonl"
    events.write_bytes(events.read_bytes()[:-10])  # the torn end that a kill leaves; this run was not killed
    with pytest.raises(StorageError, match=r"events\.jsonl is damaged"):
        list(folder.events())
    (run.path / "manifest.json").write_text("damaged")
    assert folder.predictions("test")["score"] == ["0.6"]  # no proof, no refusal
    with pytest.raises(StorageError, match=r"manifest\.json"):
        Run.reopen(_interrupted(run.path), positions=None)


def _interrupted(path):
    amend(path, status="interrupted")
    return path


def test_a_record_without_what_a_resumed_run_adds_to_is_refused(create):
    with contextlib.suppress(KeyboardInterrupt), create() as run:
        run.log_block(STEPS)
        raise KeyboardInterrupt
    amend(run.path, digests=None)
    with pytest.raises(StorageError, match="'digests' is missing"):
        Run.reopen(run.path, positions=None)


def test_a_run_is_not_taken_up_through_a_link_that_leads_out(create, tmp_path):
    with contextlib.suppress(KeyboardInterrupt), create() as run:
        run.log_block(STEPS)
        raise KeyboardInterrupt
    (tmp_path / "mine.txt").write_text("mine")
    (run.path / "events.jsonl").unlink()
    (run.path / "events.jsonl").symlink_to(tmp_path / "mine.txt")
    with pytest.raises(StorageError, match="leads out of the run folder"):
        Run.reopen(run.path, positions=None)
    assert (tmp_path / "mine.txt").read_text() == "mine"
