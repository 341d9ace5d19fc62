"""`runs show`: the page about one run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepdiva.cli import runs
from deepdiva.cli.summary import print_summary
from deepdiva.runs.folder import RunFolder

Store = Callable[..., Path]


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[[Path], str]:
    def run(path: Path) -> str:
        print_summary(RunFolder.open(path))
        out = capsys.readouterr().out
        return re.sub(r"(?<=\S) {2,}", " | ", out)  # how wide a column is depends on all its names

    return run


def test_a_completed_run(store: Store, show: Callable[[Path], str]) -> None:
    path = store(
        "points",
        "aaaaaa",
        seed=0,
        data="spirals",
        command=["deepdiva", "run", "points", "--experiment", "two words"],
        best={"epoch": 3, "step": 60, "metric": "val/accuracy", "value": 0.9},
        results={"test/accuracy": 0.98765},
        digests={"config": "c" * 64, "weights": None},
        test_reads=[{"time": "2026", "checkpoint": "best"}],
        determinism={"asked": "invariant", "granted": "seeded", "reasons": ["an operation has no other way"]},
    )
    (path / "config.yaml").write_text("seed: 0\n")
    (path / "code").mkdir()
    code = {"git": {"commit": "0123456789abcdef", "branch": "main"}, "dirty": True, "files": {"a.py": {}}}
    (path / "code" / "code.json").write_text(json.dumps(code))
    out = show(path)
    assert out.startswith("20261101T120000Z-aaaaaa | completed\n")
    for line in (
        "  seed | 0\n",
        "  command | deepdiva run points --experiment 'two words'\n",
        "  duration | 12.5 s\n",
        "  best | val/accuracy 0.9000 at epoch 3\n",
        "  test split | read once\n",
        "  determinism | seeded, although invariant was asked for: an operation has no other way\n",
        "  code | commit 0123456789 on main, with uncommitted changes; a copy of 1 file\n",
        "  test/accuracy | 0.9877\n",
        f"  config | {'c' * 64}\n",
        f"  reproduce | deepdiva reproduce {path}\n",
        f"  look | deepdiva board {path}\n",
    ):
        assert line in out
    assert "weights" not in out
    assert "resume" not in out


def test_a_failed_run_shows_why_and_how_to_go_on(store: Store, show: Callable[[Path], str]) -> None:
    traceback = 'Traceback (most recent call last):\n  File "x.py", line 3\nValueError: \x1b[2Jboom'
    path = store("points", "aaaaaa", status="failed", error={"message": "boom", "traceback": traceback})
    assert "resume" not in show(path)
    (path / "checkpoints").mkdir()
    out = show(path)
    assert out.endswith(
        'error\n  Traceback (most recent call last):\n    File "x.py", line 3\n  ValueError: \\x1b[2Jboom\n'
    )
    assert f"resume | deepdiva resume {path}" in out
    assert "test split | never read" in out


def test_a_run_whose_process_is_gone_was_interrupted(store: Store, show: Callable[[Path], str]) -> None:
    path = store("points", "aaaaaa", status="running", pid=2**22 + 1, host=os.uname().nodename, duration=None)
    assert show(path).startswith("20261101T120000Z-aaaaaa | interrupted\n")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ({"git": None, "files": {}}, "a copy of 0 files; no repository"),
        ({"git": {"commit": None, "branch": "main"}, "files": {}}, "no commit yet on main; a copy of 0 files"),
        ("damaged", "cannot be read: "),
    ],
)
def test_code_without_a_commit(
    store: Store, show: Callable[[Path], str], code: dict[str, Any] | str, expected: str
) -> None:
    path = store("points", "aaaaaa")
    (path / "code").mkdir()
    (path / "code" / "code.json").write_text(code if isinstance(code, str) else json.dumps(code))
    out = show(path)
    assert f"  code | {expected}" in out


def test_a_terminal_gets_colours(
    store: Store,
    call: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    on_terminal: Callable[[int], None],
) -> None:
    store("points", "aaaaaa")
    on_terminal(80)
    assert call(runs, "runs", "show", "last") == 0
    assert "\x1b[32mcompleted\x1b[0m" in capsys.readouterr().out


def test_a_reproduction_and_its_original_both_show_the_verdict(store: Store, show: Callable[[Path], str]) -> None:
    original = store("points", "aaaaaa")
    evidence = {"parted": "step 3: loss 0.5 against 0.6"}
    verdict = {"verdict": "DIFFERENT", "reason": "further than rounding", "exit_code": 1, "evidence": evidence}
    again = store("points", "bbbbbb", kind="reproduction", parent=original.name, verdict=verdict)
    failed = store("points", "cccccc", kind="reproduction", parent=original.name, status="interrupted")
    store("points", "dddddd", kind="replicate", parent=original.name)
    out = show(again)
    assert "\nverdict\n  DIFFERENT | further than rounding\n" in out
    assert "  first | step 3: loss 0.5 against 0.6\n" in out
    out = show(original)
    assert f"\nreproduced by\n  {again.name} | DIFFERENT\n  {failed.name} | interrupted\n" in out
    assert "dddddd" not in out
    (failed / "checkpoints").mkdir()
    assert f"  reproduce | deepdiva reproduce {original.name}   (its code" in show(failed).replace(" | (", "   (")
    assert "deepdiva resume" not in show(failed)
    assert "verdict\n" not in out


def test_a_run_of_a_loop_of_ones_own_is_not_reproduced_by_a_command(store: Store, show: Callable[[Path], str]) -> None:
    assert "deepdiva reproduce" not in show(store("mine", "aaaaaa", task=None))
