"""The check at every start of a run: which footprint counts, what stops a run, what is allowed and recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deepdiva import Config, RunFolder
from deepdiva.data import expected, manifest
from deepdiva.data.files import WRITTEN_PROOF
from deepdiva.data.footprint import footprint
from deepdiva.errors import UserError, UserErrors
from deepdiva.experiments.data_proof import DataProof
from deepdiva.experiments.resume import resume
from deepdiva.experiments.train import train
from deepdiva.runs.run import Run
from deepdiva.tasks.points import Points

QUIET = {"figures": "none", "tensorboard": False, "predictions": False}


@pytest.fixture
def plane() -> Path:
    """A small set of points in the current directory."""
    for split, count in (("train", 20), ("val", 6), ("test", 6)):
        folder = Path("plane", split)
        folder.mkdir(parents=True)
        rows = [f"{place},{-place},{'ab'[place % 2]}\n" for place in range(count)]
        (folder / "data.csv").write_text("x,y,label\n" + "".join(rows))
    return Path("plane")


def start(proof: DataProof | None = None, **settings: object) -> RunFolder:
    given = {"task": "points", "data": "plane", "epochs": 1, "seed": 0, "threads": 1, **settings}
    return train(Config(logging=QUIET, **given), proof=proof)


def change(plane: Path, text: str = "1,1,a\n") -> None:
    with (plane / "train" / "data.csv").open("a") as file:
        file.write(text)


def runs() -> list[Path]:
    return sorted(Path("runs").glob("*/*/run.json"))


def test_a_changed_set_stops_the_next_run_and_leaves_nothing_behind(plane):
    first = start()
    start()
    change(plane)
    with pytest.raises(UserErrors) as caught:
        start()
    assert str(caught.value).startswith(f"plane has changed, says run {first.id} on 20")
    assert "train/data.csv: has changed" in str(caught.value)
    assert "--allow-changed-data" in (caught.value.hint or "")
    assert len(runs()) == 2


def test_it_stops_before_the_data_are_read(plane, monkeypatch):
    monkeypatch.setattr(manifest, "is_settled", lambda stamp, now_ns: True)
    start()
    change(plane, "no,number,at all\n")
    monkeypatch.setattr(Points, "load_data", lambda self, source: pytest.fail("the data were read"))
    with pytest.raises(UserErrors, match=r"train/data\.csv: has changed"):
        start()


def test_a_cache_that_was_cleared_does_not_hide_a_change_from_a_repetition(plane, tmp_path, monkeypatch):
    first = start()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    change(plane)
    with pytest.raises(UserErrors, match=rf"plane has changed, says run {first.id}:"):
        start(DataProof(repeats=first))
    start()


def test_what_is_allowed_is_recorded_and_holds_from_then_on(plane):
    first = start()
    before = footprint(plane).root
    change(plane)
    (plane / "notes.txt").touch()
    allowed = start(DataProof(allow_changed=True))
    assert allowed.record["changed_data"] == [
        {
            "source": "plane",
            "against": f"run {first.id} on {first.record['created'][:10]}",
            "expected": before,
            "found": footprint(plane).root,
            "differences": 2,
            "files": ["train/data.csv: has changed", "notes.txt: is new"],
        }
    ]
    assert "changed_data" not in start().record


def test_a_repetition_expects_the_data_of_the_run_that_it_repeats(plane):
    first = start()
    original = (plane / "train" / "data.csv").read_bytes()
    change(plane)
    second = start(DataProof(allow_changed=True))
    start(DataProof(repeats=second))
    with pytest.raises(UserErrors, match=f"says run {first.id}:"):
        start(DataProof(repeats=first))
    (plane / "train" / "data.csv").write_bytes(original)
    again = start(DataProof(repeats=first))
    assert again.digests["data"] == first.digests["data"]
    assert again.digests["weights"] == first.digests["weights"]


def test_other_data_than_those_of_the_run_are_no_repetition_of_them(plane):
    first = start()
    plane.rename("other")
    change(Path("other"))
    start(DataProof(repeats=first), data="other")
    start(DataProof(repeats=first), data="moons", task={"class": "points", "n": 50})


def test_what_the_set_says_of_itself_counts_before_what_is_remembered(plane):
    start()
    (plane / WRITTEN_PROOF).write_text(footprint(plane).to_json())
    change(plane)
    start(DataProof(allow_changed=True))
    with pytest.raises(UserErrors, match=f"plane has changed, says its own {WRITTEN_PROOF}"):
        start()


def test_what_was_generated_follows_from_the_settings():
    for n in (50, 60):
        start(data="moons", task={"class": "points", "n": n})


def test_a_resumed_run_names_what_has_changed(plane, monkeypatch):
    from deepdiva.engine.trainer import Trainer

    monkeypatch.setattr(Trainer, "test", lambda self: (_ for _ in ()).throw(RuntimeError("cut off")))
    with pytest.raises(RuntimeError):
        start()
    change(plane)
    with pytest.raises(UserErrors, match=r"train/data\.csv: has changed") as caught:
        resume(runs()[0].parent)
    assert caught.value.hint == "restore the files, or start anew"


def test_on_the_command_line(plane, cli):
    words = ["run", "points", "--data", "plane", "--epochs", "1", "--figures", "none", "--determinism", "seeded"]
    first = json.loads(cli(*words, "--json").out)
    change(plane)
    stopped = cli(*words)
    assert stopped.code == 2
    assert "train/data.csv: has changed" in stopped.err
    repeat = ("run", "--config", f"{first['path']}/config.yaml")
    allowed = RunFolder.open(json.loads(cli(*repeat, "--allow-changed-data", "--json").out)["path"])
    assert allowed.record["changed_data"][0]["against"] == f"run {first['id']}"
    assert cli(*words).code == 0
    repeated = cli(*repeat)
    assert repeated.code == 2
    assert f"says run {first['id']}:" in repeated.err


def test_a_damaged_proof_of_its_own_stops_the_run(plane):
    (plane / WRITTEN_PROOF).write_text("{}")
    with pytest.raises(UserError, match="is not a footprint"):
        start()


def test_a_set_known_by_its_name_is_compared_wherever_it_lies(plane, tmp_path):
    """As `mnist`, which another machine keeps in another folder."""
    first = start()
    elsewhere = tmp_path / "elsewhere"
    plane.rename(elsewhere)
    change(elsewhere)
    read = footprint(elsewhere)
    assert read.source == str(elsewhere)
    run = Run.create("again", data="plane", allow_dirty=True, tensorboard=False)
    with run, pytest.raises(UserErrors, match=f"says run {first.id}"):
        DataProof(repeats=first).check_read(run, [read])
    with Run.create("other", data="other", allow_dirty=True, tensorboard=False) as run:
        DataProof(repeats=first).check_read(run, [read])


def test_a_folder_that_has_the_name_of_another_set_is_not_that_set(plane, tmp_path):
    """As a folder `digits`, once a run has read it, beside the bundled digits, which are one file elsewhere."""
    named = plane.rename(plane.with_name("digits"))
    expected.remember(footprint(named), "digits", origin="run before")
    bundled = tmp_path / "digits.csv"
    bundled.write_text("1,2\n")
    read = replace(footprint(bundled), source="digits")
    with Run.create("named", data="digits", allow_dirty=True, tensorboard=False) as run:
        DataProof().check_read(run, [read])
