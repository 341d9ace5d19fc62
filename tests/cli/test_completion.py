"""At every Tab the shell is told what may follow: commands, tasks, their options, values and runs, without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Answer

from deepdiva.cli.completion import SCRIPTS

Complete = Callable[..., list[str]]


@pytest.fixture
def complete(cli: Callable[..., Answer]) -> Complete:
    """The words offered for the last word of a command."""

    def call(*words: str) -> list[str]:
        answer = cli("__complete", *words)
        assert answer.code == 0
        assert answer.err == ""
        return [line.partition("\t")[0] for line in answer.out.splitlines()]

    return call


def test_commands(complete: Complete):
    assert {"run", "resume", "runs", "board", "new", "check", "doctor", "completion"} <= set(complete(""))
    assert complete("ru") == ["run", "runs"]
    assert complete("runs", "") == ["ls", "show", "verify"]
    assert complete("completion", "") == ["bash", "zsh", "fish"]
    assert complete("nothing", "") == complete("")


def test_tasks_and_their_options(complete: Complete):
    assert {"image-classification", "points"} <= set(complete("run", ""))
    assert complete("check", "poi") == ["points"]
    assert complete("run", "points", "--surf") == ["--surface-pixels"]
    assert complete("run", "image-classification", "--surf") == []
    assert {"--config", "--print-config", "--origins"} <= set(complete("run", "points", "--"))
    assert complete("run", "points", "--no-tens") == ["--no-tensorboard"]
    assert complete("run", "points", "--jso") == complete("check", "points", "--jso") == ["--json"]


def test_a_task_in_a_file_is_not_run_for_it(complete: Complete, project: Path):
    (project / "mine.py").write_text("raise SystemExit('run')\n")
    assert complete("run", "mine.py:Mine", "--epo") == ["--epochs"]


def test_values(complete: Complete):
    assert complete("run", "points", "--determinism", "") == ["seeded", "repeatable", "invariant", "portable"]
    assert complete("run", "points", "--determinism=p") == ["--determinism=portable"]
    assert complete("run", "points", "--determinism", "=", "p") == ["portable"]  # as bash takes it apart
    assert complete("run", "points", "--determinism", "=") == ["seeded", "repeatable", "invariant", "portable"]
    assert complete("run", "points", "--logging.figures", "e") == ["end"]
    assert "resnet18" in complete("run", "points", "--model", "r")
    assert complete("run", "points", "--device", "cu") == ["cuda"]
    assert complete("runs", "ls", "--status", "c") == ["completed"]
    assert "points" in complete("new", "mine", "--from", "")
    assert "--runs-dir" in complete("resume", "--")


def test_classes_of_torch_are_known_without_importing_it(complete: Complete):
    import torch

    offered = complete("run", "points", "--optimizer", "")
    assert {"AdamW", "SGD"} <= set(offered)
    assert "Optimizer" not in offered
    assert all(issubclass(getattr(torch.optim, name), torch.optim.Optimizer) for name in offered)
    assert all(hasattr(torch.optim.lr_scheduler, name) for name in complete("run", "points", "--scheduler", ""))
    assert all(hasattr(torch.nn, name) for name in complete("run", "points", "--loss", ""))


def test_where_a_file_is_wanted_the_shell_is_left_to_it(complete: Complete):
    assert complete("run", "points", "--config", "") == []
    assert complete("run", "points", "--data", "") == []
    assert complete("run", "my_") == []


def test_runs(complete: Complete, store):
    store("points", "a1b2c3", day=1)
    newest = store("points", "d4e5f6", day=2)
    (store("points", "000000", day=3) / "run.json").write_text("damaged")
    assert complete("resume", "") == ["last", newest.name, f"20261101T120000Z-{'a1b2c3'}"]
    assert complete("runs", "show", "20261102") == [newest.name]
    assert complete("board", newest.name, "las") == ["last"]
    assert complete("resume", "--runs-dir", "elsewhere", "") == []
    assert complete("resume", "--runs-dir", "runs", "la") == ["last"]


def test_meanings_stand_behind_a_tab(cli: Callable[..., Answer]):
    assert cli("__complete", "run", "points", "--epo").out == "--epochs\tPasses over the training data.\n"


def test_torch_is_not_loaded():
    script = "import sys; from deepdiva.cli.main import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    words = ["__complete", "run", "points", "--optimizer", "A"]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, "AdamW" in done.stdout) == (0, True)


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_script_for_every_shell(cli: Callable[..., Answer], shell: str):
    script = cli("completion", shell).out
    assert f"deepdiva completion {shell}" in script  # says itself where it goes
    assert "__complete" in script


def test_bash_completes(cli: Callable[..., Answer], tmp_path: Path):
    (tmp_path / "deepdiva").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m deepdiva.cli.main "$@"\n')
    (tmp_path / "deepdiva").chmod(0o755)
    script = cli("completion", "bash").out + (
        "COMP_WORDS=(deepdiva runs sh); COMP_CWORD=2; _deepdiva deepdiva; printf '%s|' \"${COMPREPLY[@]}\"\n"
        "COMP_WORDS=(deepdiva run points -); COMP_CWORD=2; _deepdiva deepdiva; printf '%s|' \"${COMPREPLY[@]}\"\n"
    )
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "show|points|"
    assert done.stderr == ""
