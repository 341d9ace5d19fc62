from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepdiva.errors import UserError
from deepdiva.experiments import fresh
from deepdiva.experiments.audit import Segment, audit, segments
from deepdiva.experiments.audit_odds import caught_probability
from deepdiva.experiments.preparation import Wishes
from deepdiva.runs.folder import RunFolder, find_runs
from deepdiva.runs.record import amend, read_record
from deepdiva.runs.storage import canonical_json

Train = Callable[..., RunFolder]


@pytest.fixture(autouse=True)
def quick(in_process: list[fresh.Request]) -> list[fresh.Request]:
    return in_process


@pytest.fixture
def kept(run_task: Train) -> RunFolder:
    """A run of four epochs of six steps, each with a checkpoint that stays."""
    run = run_task(epochs=4, training={"keep_every": 1})
    (run.path / "manifest.json").unlink()  # whoever changes a run changes it as well
    return run


def change_weight(run: RunFolder, step: int) -> None:
    """Changes one bit of a weight in a checkpoint, and every checksum with it."""
    folder = run.path / "checkpoints" / f"step-{step:08d}"
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-3] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest.pop("check")
    manifest["files"]["model.safetensors"]["sha256"] = hashlib.sha256(data).hexdigest()
    check = hashlib.sha256(canonical_json(manifest).encode()).hexdigest()
    (folder / "manifest.json").write_text(canonical_json({**manifest, "check": check}))


def change_line(path: Path, change: Callable[[dict[str, Any]], bool]) -> None:
    """Changes the first line of a log that `change` changes, and its checksum."""
    import zlib

    lines = path.read_text().splitlines()
    for place, line in enumerate(lines):
        record = json.loads(line[9:])
        if change(record):
            text = canonical_json(record)
            lines[place] = f"{zlib.crc32(text.encode()):08x} {text}"
            break
    path.write_text("\n".join(lines) + "\n")


def test_segments_lie_between_the_checkpoints(kept: RunFolder):
    assert segments(kept) == [Segment(0, 6), Segment(6, 12), Segment(12, 18), Segment(18, 24)]


def test_every_segment_of_an_honest_run_is_bit_exact(kept: RunFolder, quick):
    before = sorted((path, path.stat().st_mtime_ns) for path in kept.path.rglob("*"))
    found = audit(kept, 4, seed=1)
    assert (found.verdict, found.exit_code) == ("BIT-IDENTICAL", 0)
    assert [replay.segment for replay in found.replays] == segments(kept)
    assert found.odds == 1
    assert len(quick) == 4
    assert [request.until for request in quick] == [6, 12, 18, 24]
    assert len(list(find_runs("runs"))) == 1
    assert sorted((path, path.stat().st_mtime_ns) for path in kept.path.rglob("*")) == before


def test_the_seed_chooses_the_segments_and_the_odds_are_told(kept: RunFolder):
    found = audit(kept, 2, seed=11)
    assert [replay.segment for replay in audit(kept, 2, seed=11).replays] == [r.segment for r in found.replays]
    assert found.odds == caught_probability(4, 2)
    assert found.to_mapping()["odds"] == found.odds


@pytest.mark.parametrize("step", [0, 12, 24])
def test_a_changed_weight_is_seen_at_the_end_of_its_segment(kept: RunFolder, step: int):
    change_weight(kept, step)
    faults = {replay.segment.end: replay.faults for replay in audit(kept, 4, seed=1).replays}
    assert faults[step or 6] == (
        f"the checkpoint of step {step} does not hold the state that the training comes to (model.safetensors)",
    )
    others = {end for end, found in faults.items() if found} - {step or 6}
    assert others == ({18} if step == 12 else set())  # what begins with it is led astray


def test_a_changed_loss_is_seen(kept: RunFolder):
    def change(record: dict[str, Any]) -> bool:
        if record["step"] != 9 or "loss" not in record:
            return False
        record["loss"] = "3fe0000000000000"
        return True

    change_line(kept.path / "fingerprints.jsonl", change)
    found = audit(kept, 4, seed=1)
    assert (found.verdict, found.exit_code) == ("DIFFERENT", 1)
    assert [replay.faults for replay in found.replays if replay.faults] == [
        ("the loss of step 9 is not the recorded one",)
    ]


def test_a_validation_that_was_made_nicer_is_seen(kept: RunFolder):
    def change(record: dict[str, Any]) -> bool:
        if record["step"] != 18 or "val/loss" not in record["values"]:
            return False
        record["values"]["val/loss"] *= 0.5
        return True

    change_line(kept.path / "events.jsonl", change)
    faults = [replay.faults for replay in audit(kept, 4, seed=1).replays if replay.faults]
    assert faults == [("val/loss at step 18 is not the recorded one",)]


def test_a_final_digest_that_no_training_comes_to_is_seen(kept: RunFolder):
    digests = {**read_record(kept.path)["digests"], "weights": "0" * 64}
    amend(kept.path, digests=digests)
    faults = [replay.faults for replay in audit(RunFolder.open(kept.path), 4, seed=1).replays if replay.faults]
    assert faults == [("run.json states another digest of the weights at step 24",)]


def test_a_checkpoint_that_does_not_fit_its_checksums_is_seen(kept: RunFolder):
    path = kept.path / "checkpoints" / "step-00000006" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    found = {replay.segment.end: replay for replay in audit(kept, 4, seed=1).replays}
    assert found[6].faults
    assert found[12].faults
    assert "step-00000006" in found[12].faults[0]


def test_other_arithmetic_makes_other_bits_no_proof(kept: RunFolder, other_arithmetic: Callable[[], str]):
    change_weight(kept, 12)
    name = other_arithmetic()
    found = audit(kept, 4, seed=1)
    assert (found.verdict, found.exit_code) == ("INCONCLUSIVE", 3)
    assert name in found.hindrance


def test_a_replay_that_fails_is_inconclusive(kept: RunFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("deepdiva.engine.trainer.Trainer.fit", lambda *_, **__: 1 / 0)
    found = audit(kept, 1, seed=1)
    assert found.verdict == "INCONCLUSIVE"
    assert "ZeroDivisionError" in found.replays[0].failure


@pytest.mark.parametrize("count", [0, 5])
def test_more_segments_than_there_are_cannot_be_replayed(kept: RunFolder, count: int):
    with pytest.raises(UserError, match="has 4 segments"):
        audit(kept, count, Wishes(), seed=1)


def test_a_run_that_kept_few_checkpoints_has_long_segments(run_task: Train):
    run = run_task(epochs=3)
    assert segments(run)[0].start == 0
    assert audit(run, len(segments(run)), seed=1).verdict == "BIT-IDENTICAL"


def test_what_this_machine_lacks_says_nothing_of_the_run(kept: RunFolder, monkeypatch: pytest.MonkeyPatch):
    def train(request: fresh.Request, **_: Any) -> RunFolder:
        raise UserError("there is no such device")

    monkeypatch.setattr("deepdiva.experiments.audit.train_fresh", train)
    found = audit(kept, 2, seed=1)
    assert (found.verdict, found.exit_code) == ("INCONCLUSIVE", 3)
    assert {replay.failure for replay in found.replays} == {"there is no such device"}


def test_a_checkpoint_without_a_file_is_seen(kept: RunFolder):
    (kept.path / "checkpoints" / "step-00000012" / "training.safetensors").unlink()
    faults = {replay.segment.end: replay.faults for replay in audit(kept, 4, seed=1).replays}
    assert "training.safetensors is missing" in faults[12][0]
    assert faults[18]  # it cannot be begun from
