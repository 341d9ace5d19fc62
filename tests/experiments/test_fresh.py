from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from deepdiva import RunFolder
from deepdiva.engine.progress import SilentProgress
from deepdiva.errors import Problem, RunFailed, UserError, UserErrors
from deepdiva.experiments import fresh
from deepdiva.experiments.fresh import Request, train_fresh


class Heard(SilentProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def request_for(run: RunFolder, **more: Any) -> Request:
    config = {**run.config(), "runs_dir": str(Path.cwd() / "fresh"), **more.pop("settings", {})}
    return Request(config, str(Path.cwd()), parent=run.id, code=str(run.path / "code"), **more)


def test_a_fresh_process_gives_the_same_bits(run_task: Callable[..., RunFolder]) -> None:
    run = run_task(epochs=1)
    heard = Heard()
    again = train_fresh(request_for(run, kind="reproduction"), progress=heard)
    assert again.record["pid"] != os.getpid()
    assert again.digests["state"] == run.digests["state"]
    assert again.digests["metrics"] == run.digests["metrics"]
    assert again.digests["code"] == run.digests["code"]
    assert (again.record["kind"], again.record["parent"]) == ("reproduction", run.id)
    assert again.record["determinism"]["granted"] == "invariant"
    assert any(line.startswith("epoch   1/1") for line in heard.lines)


def test_what_the_process_refuses_is_refused_here(run_task: Callable[..., RunFolder]) -> None:
    run = run_task(epochs=1)
    with pytest.raises(UserErrors) as caught:
        train_fresh(request_for(run, settings={"epochs": -1, "batch_size": 0}))
    assert [problem.where for problem in caught.value.problems]
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    "error",
    [
        UserError("no such data", "give others"),
        RunFailed("the loss is nan", "lower the rate"),
        UserErrors([Problem("wrong", "a.yaml:3", "mend it"), Problem("bad")], "two things"),
        KeyboardInterrupt("SIGTERM"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_arrives_as_it_was(error: BaseException) -> None:
    error.add_note("the run is kept: here")
    document, code = fresh._described(error)
    with pytest.raises(type(error)) as caught:
        fresh._understood(json.loads(json.dumps(document)), [])
    assert str(caught.value) == str(error)
    assert caught.value.__notes__ == error.__notes__
    assert code == {KeyboardInterrupt: 130}.get(type(error), getattr(error, "exit_code", 1))
    assert getattr(caught.value, "problems", ()) == getattr(error, "problems", ())


def test_an_error_in_the_code_is_told_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ZeroDivisionError("by nothing")
    except ZeroDivisionError as error:
        document, code = fresh._described(error)
    assert code == 1
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    with pytest.raises(RunFailed, match="ZeroDivisionError: by nothing") as caught:
        fresh._understood(document, printed.splitlines())
    assert "Traceback" in caught.value.__notes__[0]


def test_a_process_that_breaks_down_is_told_with_its_last_lines(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho it hurts\nexit 7\n")
    program.chmod(0o755)
    with pytest.raises(RunFailed, match="ended with exit code 7") as caught:
        train_fresh(Request({}, str(tmp_path), python=str(program)))
    assert "it hurts" in caught.value.__notes__[0]
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    with pytest.raises(RunFailed, match="by signal 9"):
        train_fresh(Request({}, str(tmp_path), python=str(program)))


def test_what_a_process_leaves_behind_neither_holds_up_its_end_nor_outlives_it(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nsleep 600 &\necho $! >left\nprintf 'first\\nlast'\nkill -9 $$\n")
    program.chmod(0o755)
    with pytest.raises(RunFailed, match="by signal 9") as caught:
        train_fresh(Request({}, str(tmp_path), python=str(program)))
    assert caught.value.__notes__[0].splitlines()[1:] == ["    first", "    last"]
    left = (tmp_path / "left").read_text().strip()
    _await(lambda: _state(left) in ("", "Z"))


def _state(process: str) -> str:
    """One letter, or nothing where there is no such process."""
    return subprocess.run(["ps", "-o", "stat=", "-p", process], capture_output=True, text=True).stdout[:1]


def test_the_variables_of_the_level_are_there_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPDIVA_VARIABLES_BEFORE_TORCH", "portable")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")  # as that level has left it
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")  # as the user has set it
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    request = Request(
        {"determinism": "portable"}, ".", variables={"A": "1", "HOME": None, "MKL_CBWR": "AVX2"}, python_path=("/ours",)
    )
    given = fresh.environment(request)
    assert given["DEEPDIVA_REEXECUTED"] == "portable"
    assert given["GLIBC_TUNABLES"]
    assert given["OMP_NUM_THREADS"] == "1"
    assert (given["A"], given["MKL_CBWR"], given["PYTHONPATH"]) == ("1", "AVX2", f"/ours{os.pathsep}/theirs")
    assert "HOME" not in given
    given = fresh.environment(Request({"determinism": "invariant"}, "."))
    assert "OPENBLAS_CORETYPE" not in given
    assert given["ATEN_CPU_CAPABILITY"] == "default"


@pytest.mark.slow
def test_the_process_ends_with_the_one_that_started_it(run_task: Callable[..., RunFolder]) -> None:
    run = run_task(epochs=1)
    request = request_for(run, settings={"task": {**run.config()["task"], "pause": 0.02}, "epochs": 1000})
    script = (
        "import json, sys; from deepdiva.experiments.fresh import Request, train_fresh; "
        "train_fresh(Request(**json.loads(sys.argv[1])))"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, json.dumps(asdict(request))])
    started = _await(lambda: next(iter(Path("fresh").glob("*/*/events.jsonl")), None))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    child = _await(lambda: _ended(started.parent))
    assert child.record["status"] == "interrupted"


def _ended(path: Path) -> RunFolder | None:
    folder = RunFolder.open(path)
    return folder if folder.record["status"] != "running" else None


def _await(condition: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")
