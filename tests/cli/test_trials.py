from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepdiva.experiments import chaos, diagnosis, fresh, neutral

SMALL = ("points", "--epochs", "1", "--seed", "0", "--threads", "1", "--figures", "none")


@pytest.fixture
def at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains in this process. That each training has one of its own shows the page of the documentation on them."""
    for module in (chaos, diagnosis, neutral):
        monkeypatch.setattr(module, "train_fresh", lambda request, progress: fresh._train(replace(request, kill=None)))


@pytest.mark.usefixtures("at_hand")
def test_chaos_compares_two_trainings(cli: Any, project: Path) -> None:
    answer = cli("chaos", *SMALL, "--kills", "1", "--keep", "kept")
    assert answer.code == 0, answer.err
    assert "the same bits" in answer.out
    assert answer.out.startswith("the training was over before kill 1 of 1")
    assert len(list(Path("kept").glob("*/*/*/run.json"))) == 2


@pytest.mark.usefixtures("at_hand")
def test_watching_is_neutral(cli: Any, project: Path) -> None:
    answer = cli("check", *SMALL, "--neutral")
    assert answer.code == 0, answer.out + answer.err
    assert answer.out.count("same ") == 7
    assert "one digest in 7 trainings (seed 0)" in answer.out
    assert not Path("runs").exists()


@pytest.mark.usefixtures("at_hand")
def test_the_doctor_examines_a_task(cli: Any, project: Path) -> None:
    answer = cli("doctor", *SMALL, "--json")
    found = {finding["name"]: finding for finding in json.loads(answer.out)}
    assert answer.code == 0, answer.out
    assert found["same bits twice"]["good"]
    assert found["seeds differ"]["good"]
    assert "ms a step" in found["level portable"]["found"]


@pytest.mark.parametrize("command", ["chaos", "doctor"])
def test_mistakes_are_told_before_anything_starts(cli: Any, project: Path, command: str) -> None:
    answer = cli(command, "points", "--epochz", "3", "--batch-size", "0")
    assert answer.code == 2
    assert "did you mean" in answer.err
    assert "--batch-size" in answer.err


def test_kills_is_a_number_and_keep_a_new_folder(cli: Any, project: Path) -> None:
    assert "--kills: expected a whole number, got 'many'" in cli("chaos", "points", "--kills", "many").err
    assert "--kills: a value is missing" in cli("chaos", "points", "--kills").err
    Path("full").mkdir()
    Path("full/file").touch()
    answer = cli("chaos", "points", "--keep", "full")
    assert (answer.code, "not empty" in answer.err) == (2, True)


def test_help_says_what_each_is_for(cli: Any) -> None:
    for command, word in (("chaos", "SIGKILL"), ("doctor", "bit-reproducible"), ("check", "--neutral")):
        answer = cli(command, "points", "--help")
        assert answer.code == 0
        assert word in answer.out


def test_the_doctor_without_a_task_examines_the_machine(cli: Any, project: Path) -> None:
    from deepdiva.cli import trials

    assert not trials.is_about_a_task(["--json", "--runs-dir", "runs"])
    assert trials.is_about_a_task(["points"])
    assert trials.is_about_a_task(["--config", "a.yaml"])
