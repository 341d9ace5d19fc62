"""Ctrl-C ends a step cleanly, marks the run `interrupted` and says how to go on; `resume` finishes to the same bits."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.stories.conftest import QUICK, Cli, Run

from deepdiva.runs.folder import RunFolder, find_runs

PATIENT = '''
import os
import time
from dataclasses import dataclass

from deepdiva.tasks.points import Points


@dataclass(frozen=True)
class Patient(Points):
    """Waits in every step of training, where the environment says so."""

    def step(self, model, batch):
        if model.training:
            time.sleep(float(os.environ.get("WAIT", 0)))
        return super().step(model, batch)
'''
WORDS = [str(word) for word in ("patient.py:Patient", "--n", 100, "--batch-size", 4, "--epochs", 4, *QUICK)]


SIGNALLED = '''
import os
import signal
from dataclasses import dataclass

from deepdiva.tasks.points import Points


@dataclass(frozen=True)
class Signalled(Points):
    """Gets a signal from its scheduler at a moment that the environment names."""

    def moment(self, name):
        if os.environ.get("MOMENT") == name:
            del os.environ["MOMENT"]
            os.kill(os.getpid(), getattr(signal, os.environ["SIGNAL"]))

    def load_data(self, source):
        self.moment("load")
        return super().load_data(source)

    def build_model(self, build):
        self.moment("build")
        return super().build_model(build)

    def step(self, model, batch):
        self.moment("step" if model.training else "validation")
        return super().step(model, batch)

    def metrics(self, evaluation):
        self.moment(f"{evaluation.split} after {evaluation.epoch}")
        return super().metrics(evaluation)
'''


@pytest.mark.parametrize(
    ("moment", "name"),
    [
        ("load", "SIGTERM"),
        ("build", "SIGUSR2"),
        ("step", "SIGUSR1"),
        ("validation", "SIGTERM"),
        ("val after 1", "SIGUSR1"),
        ("test after", "SIGTERM"),
    ],
)
def test_a_schedulers_signal_loses_nothing_whenever_it_comes(
    cli: Cli, commit, project: Path, monkeypatch: pytest.MonkeyPatch, moment: str, name: str
):
    commit(**{"signalled.py": SIGNALLED})
    words = ["run", "signalled.py:Signalled", "--n", 60, "--batch-size", 8, "--epochs", 2, *QUICK]
    assert cli(*words).code == 0
    [whole] = find_runs("runs")
    if moment == "test after":
        moment = f"test after {whole.record['best']['epoch']}"
    monkeypatch.setenv("MOMENT", moment)
    monkeypatch.setenv("SIGNAL", name)
    answer = cli(*words, "--continue")
    assert answer.code == 75, answer.err
    [interrupted] = [run for run in find_runs("runs") if run.id != whole.id]
    assert interrupted.status == "interrupted"
    assert answer.err.endswith(f"to go on: deepdiva resume runs/Signalled/{interrupted.id}\n")
    again = cli(*words, "--continue")
    assert again.code == 0, again.err
    resumed = RunFolder.open(interrupted.path)
    assert resumed.status == "completed"
    assert resumed.digests == whole.digests
    assert resumed.results == whole.results


def interrupt(project: Path, after_epoch: int) -> tuple[int, str]:
    """Starts the run in a process of its own and presses Ctrl-C after an epoch; gives exit code and messages."""
    command = [sys.executable, "-m", "deepdiva.cli.main", "run", *WORDS]
    environment = os.environ | {"WAIT": "0.02", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if line.startswith(f"epoch   {after_epoch}/"):
                time.sleep(0.1)
                process.send_signal(signal.SIGINT)
        return process.wait(30), said


def test_an_interrupted_run_says_how_to_go_on_and_finishes_to_the_same_bits(cli: Cli, run: Run, commit, project: Path):
    commit(**{"patient.py": PATIENT})
    code, said = interrupt(project, after_epoch=2)
    assert code == 130, said
    [interrupted] = find_runs("runs")
    path = f"runs/Patient/{interrupted.id}"
    assert said.endswith(f"interrupted\nthe run is kept: {path}\nto go on: deepdiva resume {path}\n")
    assert "Traceback" not in said
    assert interrupted.status == "interrupted"
    assert interrupted.record["finished"] is not None
    assert re.search(rf"resume +deepdiva resume {path}\n", cli("runs", "show", "last").out)
    steps = [event["step"] for event in interrupted.events("train/batch/loss")]
    assert 30 <= max(steps) < 60

    answer = cli("resume", "last")
    assert answer.code == 0, answer.err
    assert f"resuming {interrupted.id} at step {max(steps)}" in answer.err
    resumed = RunFolder.open(interrupted.path)
    assert resumed.status == "completed"
    whole = run(*WORDS[: -len(QUICK)])
    assert resumed.digests == whole.digests
    assert resumed.results == whole.results
    assert [event["step"] for event in resumed.events("train/batch/loss")] == [
        event["step"] for event in whole.events("train/batch/loss")
    ]
    assert cli("resume", "last").code == 2
