"""A run folder from a stranger: reading it executes nothing, leads nowhere else, and waits for nothing."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.conftest import Answer

from deepdiva.cli.main import main
from deepdiva.runs.record import amend

Cli = Callable[..., Answer]

REFUSED, DAMAGED, FINE = 2, 1, 0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `runs` with a run that was interrupted behind its last epoch."""
    here = tmp_path_factory.mktemp("stranger")
    (here / "task.py").write_text("x = 1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        for name in ("CONFIG", "CACHE", "DATA", "STATE"):
            patch.setenv(f"XDG_{name}_HOME", str(here / "home" / name.lower()))
        words = ["run", "points", "--epochs", "1", "--threads", "1", "--logging.figures", "none", "--allow-dirty"]
        assert main(words) == 0
    for run in (here / "runs").glob("points/*"):
        amend(run, status="interrupted")
    return here / "runs"


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that run below `runs` in the current folder, beside a file of the user's."""
    here = tmp_path / "here"
    here.mkdir()
    shutil.copytree(made, here / "runs")
    (tmp_path / "mine.txt").write_text("mine")
    monkeypatch.chdir(here)
    return next(Path("runs").glob("points/*"))


def write(run: Path, text: str) -> None:
    (run / "run.json").write_text(text)


def with_facts(run: Path, **facts: object) -> None:
    """Facts as an old DeepDIVA would have written them, without a check."""
    record = json.loads((run / "run.json").read_text())
    write(run, json.dumps({**record, "schema": 1, **facts}))


def huge(run: Path) -> None:
    with (run / "run.json").open("wb") as file:
        file.truncate(5 << 30)


def piped(run: Path) -> None:
    (run / "run.json").unlink()
    os.mkfifo(run / "run.json")


def linked(run: Path) -> None:
    (run / "run.json").rename("../run.json")
    (run / "run.json").symlink_to(Path("../run.json").resolve())


RECORDS: dict[str, Callable[[Path], None]] = {
    "huge": huge,
    "deep": lambda run: write(run, '{"schema": 1, "results": ' + '{"a":' * 100_000),
    "deep and whole": lambda run: write(run, '{"schema": 1, "error": ' + '{"a":' * 900 + "1" + "}" * 901),
    "a NUL in its name": lambda run: with_facts(run, id="a\0b"),
    "dots in its name": lambda run: with_facts(run, experiment="../../../evil"),
    "a list for results": lambda run: with_facts(run, results=[1, 2]),
    "a huge seed": lambda run: with_facts(run, seed=10**30),
    "no time": lambda run: with_facts(run, created="yesterday"),
    "an endless duration": lambda run: write(run, '{"schema": 1, "duration": Infinity}'),
    "a text for digests": lambda run: with_facts(run, digests="abc"),
    "twice the same key": lambda run: write(run, '{"schema": 1, "status": "failed", "status": "completed"}'),
    "another encoding": lambda run: (run / "run.json").write_bytes('{"schema": 1}'.encode("utf-16")) and None,  # type: ignore[func-returns-value]
    "a pipe": piped,
    "a link": linked,
}


@pytest.mark.parametrize("attack", RECORDS.values(), ids=RECORDS)
def test_a_record_that_is_no_record(run: Path, cli: Cli, attack: Callable[[Path], None]):
    attack(run)
    listed = cli("runs", "ls")
    assert listed.code == 0, listed.err
    assert "unreadable" in listed.out
    for words in (
        ["runs", "show", run],
        ["resume", run, "--yes"],
        ["board", run],
        ["run", "--config", run / "config.yaml"],
    ):
        answer = cli(*words)
        assert answer.code == REFUSED, (words, answer.err)
        assert answer.err.startswith("error: "), answer.err
        assert "Traceback" not in answer.err
        assert not set(answer.err) & {"\0", "\x1b"}
    verified = cli("runs", "verify", run)
    assert verified.code == (REFUSED if attack is linked else DAMAGED) or "run.json" in verified.out
    assert not Path("../evil").exists()


def link_to(name: str, target: str) -> Callable[[Path], None]:
    def attack(run: Path) -> None:
        place = run / name
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        place.symlink_to(Path(target).absolute())

    return attack


def pipe_in_tensorboard(run: Path) -> None:
    os.mkfifo(run / "tensorboard" / "events.out.tfevents.0000000001.x.1.0")


FOLDERS: dict[str, Callable[[Path], None]] = {
    "the log": link_to("log.txt", "../mine.txt"),
    "the events": link_to("events.jsonl", "../mine.txt"),
    "the settings": link_to("config.yaml", "../mine.txt"),
    "the checkpoints": link_to("checkpoints", ".."),
    "tensorboard": link_to("tensorboard", ".."),
    "the manifest": link_to("manifest.json", "../mine.txt"),
    "a pipe": pipe_in_tensorboard,
}


@pytest.mark.parametrize("attack", FOLDERS.values(), ids=FOLDERS)
def test_a_folder_that_leads_out(run: Path, cli: Cli, attack: Callable[[Path], None]):
    attack(run)
    before = {path: path.lstat().st_mtime_ns for path in Path("..").rglob("*") if not path.is_relative_to("../here")}
    assert cli("runs", "ls").code == FINE
    assert cli("runs", "show", run).code == FINE  # it reads run.json and code.json only
    for words in (["resume", run, "--yes"], ["board", run]):
        answer = cli(*words)
        assert answer.code == REFUSED, (words, answer.err)
        assert "leads out of the run folder" in answer.err or "no regular file" in answer.err
    assert cli("runs", "verify", run).code == DAMAGED
    assert Path("../mine.txt").read_text() == "mine"
    after = {path: path.lstat().st_mtime_ns for path in Path("..").rglob("*") if not path.is_relative_to("../here")}
    assert {path: time for path, time in after.items() if path in before} == before


def test_the_settings_of_a_run_are_read_with_care(run: Path, cli: Cli):
    (run / "config.yaml").unlink()
    (run / "config.yaml").symlink_to(Path("../mine.txt").absolute())
    assert "leads out of the run folder" in cli("run", "--config", run / "config.yaml").err
    (run / "config.yaml").unlink()
    os.mkfifo(run / "config.yaml")
    assert "no regular file" in cli("run", "--config", run / "config.yaml").err
    assert not list(Path("runs").glob("*/*-*/config.yaml"))[1:]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "a: " + "[" * 10_000,
        "a: " + "[" * 100 + "]" * 100,
        "a: !!python/object/apply:os.system ['touch pwned']",
        "a: " + "x" * (2 << 20),
        "a: &a ['" + "x" * 100_000 + "']\nb: [" + "*a, " * 1000 + "]",
    ],
    ids=["aliases", "deep", "deep and whole", "an object", "huge", "a long text again and again"],
)
def test_settings_that_are_none(run: Path, cli: Cli, text: str):
    (run / "manifest.json").unlink()
    (run / "config.yaml").write_text(text)
    for words in (["resume", run, "--yes"], ["run", "--config", run / "config.yaml"]):
        answer = cli(*words)
        assert answer.code == REFUSED, answer.err
        assert "Traceback" not in answer.err
        assert len(answer.err) < 5000
    assert not Path("pwned").exists()


def test_control_characters_do_not_reach_the_terminal(run: Path, cli: Cli):
    with_facts(run, results={"\x1b[2J": 1}, verdict={"verdict": "\x1b[2J"}, status="\x1b[2J")
    assert "\x1b" not in cli("runs", "show", run).out
    with_facts(run, task="\x1b[2Jevil", data="a\nb\rc", error={"message": "\x1b]0;title\x07"}, host="\x9b31m")
    for words in (["runs", "ls"], ["runs", "show", run], ["runs", "verify", run], ["runs", "ls", "--json"]):
        answer = cli(*words)
        assert answer.code == FINE
        assert not set(answer.out + answer.err) & {"\x1b", "\r", "\x07", "\x9b"}
    odd = run.with_name("20260101T000000Z-\x1b[31mred")
    odd.mkdir()
    (odd / "run.json").write_text("{")
    for words in (["runs", "ls"], ["runs", "show", odd], ["board", odd], ["runs", "verify", odd]):
        answer = cli(*words)
        assert "\x1b" not in answer.out + answer.err


class Payload:
    """What unpickling would execute."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch pwned",)


def test_a_pickle_is_never_loaded(run: Path, cli: Cli):
    newest = max((run / "checkpoints").iterdir())
    for place in (newest / "model.pt", newest / "data.pkl", run / "model.pt", Path("weights.pt")):
        place.write_bytes(pickle.dumps(Payload()))
    torch.save({"state_dict": Payload()}, "saved.pt")
    for words in (["runs", "ls"], ["runs", "show", run], ["runs", "verify", run]):
        assert cli(*words).code == FINE
    for name in ("weights.pt", "saved.pt", newest / "model.pt"):
        answer = cli("run", "points", "--epochs", 0, "--threads", 1, "--allow-dirty", "--init-from", name)
        assert answer.code == REFUSED
        assert "cannot be read as weights" in answer.err
    assert cli("resume", run, "--yes").code == FINE  # past the files that are none of ours
    assert not Path("pwned").exists()


def test_a_checkpoint_that_fits_its_checksums_and_is_none_is_passed_over(run: Path, cli: Cli):
    from deepdiva.engine.checkpoint import _manifest

    newest = max((run / "checkpoints").iterdir())
    contents = {
        "model.safetensors": (2**60).to_bytes(8, "little") + b"{}",
        "training.safetensors": b"\x02\0\0\0\0\0\0\0{}",
        "training.json": b'{"items":' * 5000,
    }
    for name, data in contents.items():
        (newest / name).write_bytes(data)
    (newest / "manifest.json").write_bytes(_manifest(int(newest.name[5:]), contents))
    answer = cli("resume", run, "--yes")
    assert answer.code == FINE
    assert "passed over a broken checkpoint" in answer.err


def test_a_checkpoint_of_absurd_content_that_fits_its_checksums_is_refused(run: Path, cli: Cli):
    from deepdiva.engine.checkpoint import _manifest

    newest = max((run / "checkpoints").iterdir())
    contents = {path.name: path.read_bytes() for path in newest.iterdir() if path.name != "manifest.json"}
    contents["training.json"] = contents["training.json"].replace(b'"lr",', b'"lr","fast"],["lr_before",')
    for name, data in contents.items():
        (newest / name).write_bytes(data)
    (newest / "manifest.json").write_bytes(_manifest(int(newest.name[5:]), contents))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    answer = cli("resume", run, "--yes")
    assert answer.code == REFUSED
    assert answer.err.count("error: ") == 1
    assert f"{newest}: its files fit their checksums, but no training can go on from it" in answer.err
    assert "the digest that was kept with them" in answer.err
    assert "remove the folder" in answer.err
    assert "Traceback" not in answer.err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    shutil.rmtree(newest)
    assert cli("resume", run, "--yes").code == FINE


def test_what_a_configuration_names_is_not_imported_by_reading(run: Path, cli: Cli):
    Path("evil.py").write_text("open('pwned', 'w').close()\n")
    (run / "manifest.json").unlink()
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("class: MLP", "class: evil.py:Net"))
    for words in (["runs", "ls"], ["runs", "show", run], ["runs", "verify", run]):
        cli(*words)
    assert not Path("pwned").exists()


def test_what_a_stranger_configured_is_executed_only_by_agreement(run: Path, cli: Cli):
    (run / "manifest.json").unlink()
    text = (run / "config.yaml").read_text()
    Path("evil.py").write_text("open('pwned', 'w').close()\n")
    (run / "config.yaml").write_text(text.replace("class: mlp", "class: evil.py:Net"))
    answer = cli("resume", run)
    assert answer.code == REFUSED
    assert "was not made by you on this machine" in answer.err
    assert "--yes" in answer.err
    assert not Path("pwned").exists()
    answer = cli("resume", run, "--yes")
    assert Path("pwned").exists(), answer  # so that the question is worth asking
