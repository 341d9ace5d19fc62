"""The same command again: it goes on with its own unfinished run, and with no other."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Answer

from deepdiva import RunFolder
from deepdiva.experiments.continuation import _is_meant
from deepdiva.runs.folder import find_runs
from deepdiva.runs.record import amend

Cli = Callable[..., Answer]
WORDS = ("run", "points", "--n", 40, "--epochs", 1, "--threads", 1, "--figures", "none", "--no-tensorboard")


def ran(answer: Answer) -> RunFolder:
    """The run that a command made or went on with."""
    assert answer.code == 0, answer.err
    path = next(line.split()[1] for line in answer.out.splitlines() if line.startswith("run "))
    return RunFolder.open(path)


def cut_off(run: RunFolder, **facts: Any) -> None:
    """Makes a completed run one whose process was killed after its last checkpoint."""
    amend(run.path, **({"status": "interrupted", "finished": None, "duration": None} | facts))


@pytest.fixture(autouse=True)
def outside_of_jobs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("SLURM_", "PBS_", "LSB_"))]:
        monkeypatch.delenv(name)


def test_it_begins_where_there_is_nothing_to_go_on_with(cli: Cli):
    first = ran(cli(*WORDS, "--continue"))
    assert first.status == "completed"
    assert ran(cli(*WORDS, "--continue")).id != first.id  # completed, and no job that was restarted


def test_it_goes_on_with_the_newest_unfinished_run_of_the_same_words(cli: Cli):
    runs = [ran(cli(*WORDS, *option)) for option in ((), ("--continue",), ())]
    for run in runs[:2]:
        cut_off(run)
    answer = cli(*WORDS, "--continue")
    assert f"resuming {runs[1].id} at step" in answer.err
    assert ran(answer).id == runs[1].id
    assert ran(cli(*WORDS[:2], "--continue", *WORDS[2:])).id == runs[0].id
    assert len(list(find_runs())) == 3


@pytest.mark.parametrize("other", [("--seed", 5), ("--batch-size", 9), ("--experiment", "other")], ids=str)
def test_other_words_are_another_run(cli: Cli, other: tuple[object, ...]):
    cut_off(ran(cli(*WORDS)))
    cli(*WORDS, *other, "--continue")
    assert sorted(run.status for run in find_runs()) == ["completed", "interrupted"]


def test_the_same_words_with_another_file_are_another_run(cli: Cli):
    settings = Path("settings.yaml")
    settings.write_text("batch_size: 8\n")
    first = ran(cli(*WORDS, "--allow-dirty", "--config", settings))
    cut_off(first)
    settings.write_text("batch_size: 9\n")
    second = ran(cli(*WORDS, "--allow-dirty", "--config", settings, "--continue"))
    assert second.id != first.id
    settings.write_text("batch_size: 8  # as before\n")
    assert ran(cli(*WORDS, "--allow-dirty", "--config", settings, "--continue")).id == first.id


def test_a_run_that_failed_by_itself_is_not_tried_again(cli: Cli):
    first = ran(cli(*WORDS))
    cut_off(first, status="failed", error={"type": "ValueError", "message": "no"})
    assert ran(cli(*WORDS, "--continue")).id != first.id
    cut_off(first, status="failed", error={"type": "RuntimeError", "message": "worker (pid 7) is killed by signal: 9"})
    assert ran(cli(*WORDS, "--continue")).id == first.id


def test_a_restarted_job_finds_its_run_whatever_has_become_of_it(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    first = ran(cli(*WORDS, "--continue"))
    assert first.record["job"] == {"id": "slurm 4711", "task": None, "restart": 0}
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    cut_off(first, status="running", host="a node that is gone")
    assert RunFolder.open(first.path).status == "interrupted"  # it cannot be asked, and is known to have ended
    again = ran(cli(*WORDS, "--continue"))
    assert (again.id, again.status, again.record["job"]["restart"]) == (first.id, "completed", 1)
    before = (first.path / "run.json").read_bytes()
    shown = cli(*WORDS, "--continue", "--json")  # all was done before the job was restarted once more
    assert shown.code == 0
    shown = cli(*WORDS, "--continue")
    assert ran(shown).id == first.id
    assert (first.path / "run.json").read_bytes() == before
    monkeypatch.setenv("SLURM_JOB_ID", "4712")
    assert ran(cli(*WORDS, "--continue")).id != first.id


def test_another_place_of_the_same_job_may_still_work(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    first = ran(cli(*WORDS, "--continue"))
    cut_off(first, status="running", host="another node of this job")
    answer = cli(*WORDS, "--continue")
    assert answer.code == 2
    assert "still running" in answer.err


def test_tasks_of_an_array_leave_each_other_alone(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLURM_JOB_ID", "10")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    first = ran(cli(*WORDS, "--continue"))
    cut_off(first)
    monkeypatch.setenv("SLURM_JOB_ID", "11")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert ran(cli(*WORDS, "--continue")).id != first.id
    monkeypatch.setenv("SLURM_JOB_ID", "12")  # the array was handed in once more
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    assert ran(cli(*WORDS, "--continue")).id == first.id


@pytest.mark.parametrize(
    ("wanted", "recorded", "same"),
    [
        ({"seed": None, "device": "auto", "epochs": 3}, {"seed": 7, "device": "cpu", "epochs": 3}, True),
        ({"epochs": 3}, {"epochs": 4}, False),
        ({"optimizer": "adamw"}, {"optimizer": {"class": "AdamW", "lr": 0.1}}, True),
        ({"optimizer": {"class": "AdamW", "lr": 0.2}}, {"optimizer": {"class": "AdamW", "lr": 0.1}}, False),
        ({"workers": 2, "runs_dir": "a"}, {"workers": 0, "runs_dir": "b"}, True),
        ({"augment": ["flip", "noise"]}, {"augment": ["flip"]}, False),
        ({"augment": ["flip"]}, {"augment": [{"class": "Flip", "p": 0.5}]}, True),
        ({"model": {"class": "mlp"}}, {}, False),
    ],
    ids=str,
)
def test_what_a_configuration_became(wanted: Any, recorded: Any, same: bool):
    assert _is_meant(wanted, recorded) is same
