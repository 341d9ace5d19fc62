"""A disk that changes a bit, or loses the end of a file: every file is named, and no answer is silently another one."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepdiva.cli.main import main
from deepdiva.data.expected import footprints_of_run
from deepdiva.engine import checkpoint
from deepdiva.errors import UserError
from deepdiva.runs import RunFolder, capsule
from deepdiva.runs.index import rows

RUNS_DIR = "runs"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `runs` with one finished run that has everything."""
    here = tmp_path_factory.mktemp("damage")
    (here / "task.py").write_text("x = 1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        for name in ("CONFIG", "CACHE", "DATA", "STATE"):
            patch.setenv(f"XDG_{name}_HOME", str(here / "home" / name.lower()))
        words = ["run", "points", "--epochs", "2", "--threads", "1", "--logging.figures", "end", "--allow-dirty"]
        assert main(words) == 0
    return here / RUNS_DIR


@pytest.fixture
def run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that run, below `runs` in the current folder."""
    shutil.copytree(finished, tmp_path / RUNS_DIR)
    monkeypatch.chdir(tmp_path)
    return next(Path(RUNS_DIR).glob("points/*"))


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def flip(path: Path, chance: random.Random) -> str:
    data = bytearray(path.read_bytes())
    place, bit = chance.randrange(len(data)), chance.randrange(8)
    data[place] ^= 1 << bit
    path.write_bytes(data)
    return f"bit {bit} of byte {place}"


def cut_off(path: Path, chance: random.Random) -> str:
    size = chance.randrange(path.stat().st_size)
    os.truncate(path, size)
    return f"{size} bytes left"


def answers(folder: Path, scratch: Path) -> dict[str, Any]:
    """What every reader of a run folder says; None where it refuses."""
    readers: dict[str, Callable[[], Any]] = {
        "record": lambda: RunFolder.open(folder).record,
        "row": lambda: [row for row in rows(RUNS_DIR) if row.status != "unreadable"] or _refuse(),
        "config": lambda: RunFolder.open(folder).config(),
        "events": lambda: list(RunFolder.open(folder).events()),
        "fingerprints": lambda: list(RunFolder.open(folder).fingerprints()),
        "predictions": lambda: RunFolder.open(folder).predictions("test"),
        "code": lambda: RunFolder.open(folder).document("code/code.json"),
        "environment": lambda: RunFolder.open(folder).document("environment/environment.json"),
        "restored": lambda: _restored(folder / "code", scratch),
        "footprints": lambda: [(each.source, each.kind, each.root) for each in footprints_of_run(folder)],
        "checkpoint": lambda: _weights(folder / "checkpoints"),
    }
    found = {}
    for name, read in readers.items():
        try:
            found[name] = read()
        except UserError:
            found[name] = None
    return found


def _refuse() -> None:
    raise UserError("unreadable")


def _restored(code: Path, scratch: Path) -> Any:
    shutil.rmtree(scratch, ignore_errors=True)
    names = capsule.restore(code, scratch)
    return {name: (scratch / name).read_bytes() for name in names}


def _weights(folder: Path) -> str | None:
    """Of the newest checkpoint; one that is passed over is told by `load_newest`."""
    saved, passed_over = checkpoint.load_newest(folder)
    if passed_over or saved is None:
        return None
    digest = hashlib.sha256()
    for name, tensor in sorted(saved.model.items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def test_an_undamaged_run_is_good(run: Path, cli: Any):
    answer = cli("runs", "verify", "last")
    assert answer.code == 0, answer.out
    assert "nothing is damaged" in answer.out
    assert "damaged " not in answer.out.replace("nothing is damaged", "")


@pytest.mark.parametrize("damage", [flip, cut_off], ids=["bit", "end"])
def test_damage_of_any_file_is_named_and_never_changes_an_answer(run: Path, cli: Any, tmp_path: Path, damage: Any):
    expected = answers(run, tmp_path / "scratch")
    assert None not in expected.values()
    names = files_of(run)
    assert len(names) > 20
    for name in names:
        whole = (run / name).read_bytes()
        for attempt in range(2):
            how = damage(run / name, random.Random(f"{name} {attempt}"))
            answer = cli("runs", "verify", run, "--json")
            assert answer.code == 1, f"{name}: {how}: {answer.out}"
            assert f'"name": "{name}",\n      "state": "damaged"' in answer.out, f"{name}: {how}: {answer.out}"
            for what, said in answers(run, tmp_path / "scratch").items():
                assert said in (None, expected[what]), f"{name}: {how}: {what}"
            (run / name).write_bytes(whole)
    assert cli("runs", "verify", run).code == 0


def test_a_damaged_table_of_runs_is_made_again(run: Path, cli: Any):
    def listed() -> str:
        answer: str = cli("runs", "ls", "--json").out
        return answer

    expected, index = listed(), Path(RUNS_DIR, ".index.sqlite")
    whole = index.read_bytes()
    for attempt in range(300):
        flip(index, random.Random(attempt))
        assert listed() == expected
        index.write_bytes(whole)


def test_a_missing_and_an_added_file_are_told(run: Path, cli: Any):
    (run / "predictions" / "test.csv").unlink()
    (run / "notes.txt").write_text("mine")
    answer = cli("runs", "verify", run)
    assert answer.code == 1
    assert "damaged   predictions/test.csv" in answer.out
    assert "unproved  notes.txt" in answer.out
    (run / "manifest.json").unlink()
    assert "it is missing, although the run has ended" in cli("runs", "verify", run).out


def test_a_damaged_run_is_listed_as_unreadable_and_not_shown(run: Path, cli: Any):
    (run / "run.json").write_bytes((run / "run.json").read_bytes().replace(b'"epoch": ', b'"epoch":1', 1))
    assert "unreadable" in cli("runs", "ls").out
    shown = cli("runs", "show", run)
    assert shown.code == 2
    assert "does not fit its own check" in shown.err
