from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

QUIET = ("--epochs", "1", "--threads", "1", "--figures", "none", "--no-tensorboard")


@pytest.fixture
def two(cli: Any, project: Path) -> tuple[str, str]:
    """Two runs that differ in the seed."""
    for seed in ("1", "2"):
        assert cli("run", "points", *QUIET, "--seed", seed, "--workers", seed).code == 0
    runs = sorted(Path("runs/points").iterdir(), key=lambda run: json.loads((run / "run.json").read_text())["seed"])
    return runs[0].name, runs[1].name


def test_the_records_alone_name_the_likely_cause(cli: Any, two: tuple[str, str]) -> None:
    answer = cli("why", *two, "--read-only")
    assert answer.code == 1
    assert "seed  1 → 2" in answer.out
    assert "workers" in answer.out
    assert "where they part" in answer.out
    assert answer.out.rstrip().endswith("the likely cause, not confirmed: seed")


def test_without_a_terminal_nothing_is_executed_unless_it_was_agreed(cli: Any, two: tuple[str, str]) -> None:
    answer = cli("why", *two)
    assert answer.code == 1
    assert "--yes repeats the step" in answer.err
    assert "not confirmed" in answer.out


@pytest.mark.slow
@pytest.mark.usefixtures("warm_python")
def test_the_step_is_repeated_and_the_cause_confirmed(cli: Any, two: tuple[str, str]) -> None:
    answer = cli("why", *two, "--yes", "--json")
    found = json.loads(answer.out)
    assert answer.code == 1
    assert [cause["what"] for cause in found["causes"]] == ["seed"]
    assert found["conclusion"].startswith("the cause: seed (confirmed")
    assert found["operation"]
    assert found["same_bits"] is False


def test_a_run_and_itself_are_the_same(cli: Any, two: tuple[str, str]) -> None:
    answer = cli("why", two[0], two[0], "--read-only")
    assert answer.code == 0
    assert answer.out.rstrip().endswith("the two runs are the same bit for bit")


def test_a_run_that_is_not_there_is_said(cli: Any, two: tuple[str, str]) -> None:
    answer = cli("why", two[0], "nothing")
    assert (answer.code, "there is no run 'nothing'" in answer.err) == (2, True)
