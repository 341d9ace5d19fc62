"""`board`: which folder TensorBoard gets, how it is started, and that it ends with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from deepdiva.cli import board
from deepdiva.errors import UserError

Store = Callable[..., Path]
Call = Callable[..., int]

# Stands in for TensorBoard: says where it is and waits.
SERVER = """
import sys, time
print("some noise", file=sys.stderr)
print("TensorBoard 2.21.0 at http://127.0.0.1:6007/ (Press CTRL+C to quit)", file=sys.stderr)
time.sleep(float(sys.argv[1]))
"""


def test_the_command_keeps_every_image_and_stays_on_this_machine(tmp_path: Path) -> None:
    words = board.command(tmp_path, None)
    assert words[1:3] == ["-m", "tensorboard.main"]
    assert words[words.index("--samples_per_plugin") + 1] == "images=1000,scalars=100000"
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert "--port" not in words
    assert board.command(tmp_path, 0)[-2:] == ["--port", "0"]


def test_without_a_choice_all_runs_are_shown(store: Store) -> None:
    store("points", "aaaaaa")
    with board.log_folder([], Path("runs")) as folder:
        assert folder == Path("runs")
    with pytest.raises(UserError, match="there is no folder elsewhere"), board.log_folder([], Path("elsewhere")):
        pass


def test_a_folder_of_runs_is_shown_as_it_is(store: Store) -> None:
    store("points", "aaaaaa")
    with board.log_folder(["runs"], Path("elsewhere")) as folder:
        assert folder == Path("runs")


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no runs"), board.log_folder([str(tmp_path)], tmp_path):
        pass


def test_chosen_runs_are_linked_for_as_long_as_it_runs(store: Store) -> None:
    first, second, third = (
        store("points", ending, day=day) for day, ending in enumerate(("aaa111", "bbb222", "ccc333"), 1)
    )
    for run in (first, third):
        (run / "tensorboard").mkdir()
    with board.log_folder(["last", "aaa111", str(first)], Path("runs")) as folder:
        links = {path.relative_to(folder).as_posix(): path.resolve() for path in folder.glob("*/*")}
        assert links == {f"points/{run.name}": (run / "tensorboard").resolve() for run in (first, third)}
    assert not folder.exists()
    assert (first / "tensorboard").exists()
    with pytest.raises(UserError, match="none of these runs"), board.log_folder([str(second)], Path("runs")):
        pass


def test_a_run_without_files_is_named(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    (store("points", "aaa111") / "tensorboard").mkdir()
    store("points", "bbb222")
    with board.log_folder(["aaa111", "bbb222"], Path("runs")) as folder:
        assert len(list(folder.glob("*/*"))) == 1
    assert capsys.readouterr().err == "run 20261101T120000Z-bbb222 keeps no TensorBoard files\n"


@pytest.mark.parametrize("text", ["x", "-1", "70000", ""])
def test_a_wrong_port_is_refused(call: Call, text: str) -> None:
    with pytest.raises(SystemExit) as caught:
        call(board, "board", f"--port={text}")
    assert caught.value.code == 2


def test_the_address_is_said_and_noise_is_not(
    store: Store, call: Call, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store("points", "aaaaaa")
    monkeypatch.setattr(board, "command", lambda folder, port: [sys.executable, "-c", SERVER, "0"])
    assert call(board, "board") == 0
    printed = capsys.readouterr()
    assert printed.out == "TensorBoard: http://127.0.0.1:6007/\n"
    assert "noise" not in printed.err


def test_a_server_that_fails_says_why(
    store: Store, call: Call, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store("points", "aaaaaa")
    program = "import sys; sys.exit('the port is taken')"
    monkeypatch.setattr(board, "command", lambda folder, port: [sys.executable, "-c", program])
    assert call(board, "board") == 1
    assert "the port is taken" in capsys.readouterr().err


def test_without_tensorboard_the_mend_is_named(store: Store, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    store("points", "aaaaaa")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="TensorBoard is not installed"):
        call(board, "board")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_real_tensorboard_serves_a_run_and_ends_with_us(store: Store, number: signal.Signals) -> None:
    from deepdiva.runs.tensorboard import Mirror

    run = store("points", "aaaaaa")
    mirror = Mirror(run / "tensorboard")
    mirror.scalars([{"step": 1, "epoch": 1, "values": {"train/loss": 0.5}, "time": 0.0}])
    mirror.flush()
    program = (
        "import argparse, sys; from deepdiva.cli import board; parser = argparse.ArgumentParser()\n"
        "board.add_parser(parser.add_subparsers()); arguments = parser.parse_args()\n"
        "sys.exit(arguments.func(arguments))"
    )
    words = [sys.executable, "-c", program, "board", "last", "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            address = (process.stdout.readline() if process.stdout else "").split()[-1]
            assert address.startswith("http://127.0.0.1:")
            assert run_names(address) == f'["points/{run.name}"]'
            process.send_signal(number)
            assert process.wait(30) == 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address, timeout=5)


def run_names(address: str) -> str:
    """What TensorBoard found; it takes a moment until it has read its folder."""
    for _ in range(100):
        with urllib.request.urlopen(f"{address}data/runs", timeout=30) as answer:
            text: str = answer.read().decode()
        if text != "[]":
            return text
        time.sleep(0.1)
    return "nothing"
