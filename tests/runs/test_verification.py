"""What is proved of a run that was killed, or is older than the manifest, by what its parts carry themselves."""

from __future__ import annotations

import errno
import json
import os

import pytest

from deepdiva.errors import UserError
from deepdiva.runs import Run
from deepdiva.runs.integrity import Entry, Manifest, encode
from deepdiva.runs.verification import verify


def states(folder):
    return {part.name: part.state for part in verify(folder)}


@pytest.fixture
def killed(project):
    """A run of a loop of one's own that was killed: it has no manifest."""
    run = Run.create("trial", config={"lr": 0.1})
    run.log(1, {"loss": 0.5})
    run.fingerprint_block([{"step": 1}])
    run.print_log("one line")
    run.flush()
    step = run.path / "checkpoints" / "step-00000001"
    step.mkdir(parents=True)
    (step / "model.safetensors").write_bytes(b"abc")
    (step / "manifest.json").write_bytes(
        encode(
            Manifest(
                {"model.safetensors": Entry(3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")}
            )
        )
    )
    return run.path


def test_a_killed_run_is_checked_by_what_it_carries(killed):
    with (killed / "events.jsonl").open("ab") as file:
        file.write(b"torn")
    assert states(killed) == {
        "run.json": "good",
        "manifest.json": "unproved",
        "config.yaml": "good",
        "code/source.tar.gz": "good",
        "code/code.json": "good",
        "environment/environment.json": "good",
        "events.jsonl": "good",
        "fingerprints.jsonl": "good",
        "checkpoints/step-00000001": "good",
        "environment": "unproved",
        "log.txt": "unproved",
        "reproduce.sh": "unproved",
        "tensorboard": "unproved",
    }
    (events,) = [part for part in verify(killed) if part.name == "events.jsonl"]
    assert events.detail == "1 line fits its checksum; a torn end of 4 bytes, as a kill leaves it"


def replaced(path, old, new):
    path.write_bytes(path.read_bytes().replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new", "part"),
    [
        ("code/code.json", b'"sha256": "', b'"sha256": "0', "code"),
        ("code/code.json", b'"mode": "644"', b'"mode": "755"', "code/code.json"),
        ("code/code.json", b'"files"', b'"fi1es"', "code"),
        ("environment/environment.json", b'"version": "3', b'"version": "2', "environment/environment.json"),
        ("environment/environment.json", b"{", b"[", "environment/environment.json"),
        ("checkpoints/step-00000001/model.safetensors", b"a", b"b", "checkpoints/step-00000001/model.safetensors"),
        ("checkpoints/step-00000001/manifest.json", b"3", b"4", "checkpoints/step-00000001"),
        ("config.yaml", b"lr: 0.1", b"lr: [", "config.yaml"),
        ("run.json", b'"trial"', b'"trail"', "run.json"),
    ],
)
def test_damage_of_a_killed_run(killed, name, old, new, part):
    replaced(killed / name, old, new)
    assert states(killed)[part] == "damaged"


def test_a_damaged_line_of_a_log(killed):
    data = (killed / "events.jsonl").read_bytes()
    (killed / "events.jsonl").write_bytes(data[:20] + b"x" + data[21:] + data)
    assert states(killed)["events.jsonl"] == "damaged"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("run.json", "run.json"),
        ("config.yaml", "config.yaml"),
        ("code/code.json", "code"),
        ("code/source.tar.gz", "code"),
        ("environment/environment.json", "environment/environment.json"),
        ("events.jsonl", "events.jsonl"),
        ("fingerprints.jsonl", "fingerprints.jsonl"),
        ("checkpoints/step-00000001/manifest.json", "checkpoints/step-00000001"),
        ("checkpoints/step-00000001/model.safetensors", "checkpoints/step-00000001/model.safetensors"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_finding(killed, monkeypatch, name, part, number):
    opened = os.open

    def refuse(path, *more, **named):
        if os.fspath(path) == os.path.realpath(killed / name):
            raise OSError(number, os.strerror(number), os.fspath(path))
        return opened(path, *more, **named)

    before = states(killed)
    monkeypatch.setattr("os.open", refuse)
    found = {each.name: each for each in verify(killed)}
    assert found[part].state == "damaged"
    assert os.strerror(number).lower() in found[part].detail.lower()
    groups = {"code": ["code/code.json", "code/source.tar.gz"], "run.json": list(before)}  # what it says, others need
    others = before.keys() - {name.rpartition("/")[0], part, *groups.get(part, [])}
    assert {other: before[other] for other in others} == {other: found[other].state for other in others}


def test_a_log_that_breaks_off_while_it_is_read_is_a_finding(killed, monkeypatch):
    monkeypatch.setattr("deepdiva.runs.verification.read_lines", broken_off)
    (events,) = [part for part in verify(killed) if part.name == "events.jsonl"]
    assert (events.state, events.detail) == ("damaged", "cannot be read: Input/output error")


def broken_off(path, **named):
    yield {}
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_checkpoint_that_was_being_written(killed):
    (killed / "checkpoints" / "step-00000001" / "manifest.json").unlink()
    assert states(killed)["checkpoints/step-00000001"] == "unproved"


def test_the_settings_of_a_killed_run_may_be_newer_than_their_digest(killed):
    (killed / "config.yaml").write_text("lr: 0.2\n")
    assert states(killed)["config.yaml"] == "unproved"


def test_a_run_older_than_the_check(killed):
    record = json.loads((killed / "run.json").read_text())
    (killed / "run.json").write_text(json.dumps({**record, "schema": 1, "finished": "2026-01-01T00:00:00Z"}))
    found = states(killed)
    assert (found["run.json"], found["manifest.json"], found["config.yaml"]) == ("unproved", "unproved", "good")
    (killed / "config.yaml").write_text("lr: 0.2\n")
    assert states(killed)["config.yaml"] == "damaged"


def test_the_manifest_of_another_run(killed):
    (killed / "manifest.json").write_bytes(encode(Manifest(run="another")))
    assert states(killed)["manifest.json"] == "damaged"


def test_files_that_are_no_files(killed, tmp_path):
    (killed / "data").mkdir()
    os.mkfifo(killed / "data" / "pipe")
    (killed / "out").symlink_to(tmp_path)
    (killed / "in").symlink_to("data")
    found = states(killed)
    assert (found["data/pipe"], found["out"]) == ("damaged", "damaged")
    assert "in" not in found


@pytest.mark.parametrize("count", [1, 2])
def test_a_folder_in_place_of_a_log_is_damaged(killed, count):
    (killed / "events.jsonl").unlink()
    (killed / "events.jsonl").mkdir()
    for number in range(count):
        (killed / "events.jsonl" / str(number)).write_text("")
    assert states(killed)["events.jsonl"] == "damaged"


def test_a_listed_file_that_became_a_link_is_damaged(killed, tmp_path):
    (tmp_path / "same").write_bytes(b"abc")
    place = killed / "checkpoints" / "step-00000001" / "model.safetensors"
    place.unlink()
    place.symlink_to(tmp_path / "same")
    assert states(killed)["checkpoints/step-00000001/model.safetensors"] == "damaged"


def test_what_is_no_run(tmp_path):
    with pytest.raises(UserError, match="is not a run folder"):
        verify(tmp_path)
