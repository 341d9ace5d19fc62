"""`deepdiva reproduce`: what it asks, what it lists, what it prints for each verdict."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Answer

from deepdiva.cli import consent
from deepdiva.cli.reproduce import described
from deepdiva.experiments import audit, preparation, reproduce
from deepdiva.experiments.audit import Audit, Replay, Segment
from deepdiva.experiments.checkout import Checkout
from deepdiva.experiments.fresh import Request
from deepdiva.experiments.replication import Effort
from deepdiva.experiments.reproduce import Reproduction
from deepdiva.experiments.verdict import Evidence, decide
from deepdiva.runs.difference import Difference
from deepdiva.runs.divergence import Divergence
from deepdiva.runs.folder import RunFolder
from deepdiva.runs.run import Run

Cli = Callable[..., Answer]
DIFFERENCES = (
    Difference("environment", "torch", "2.14.0", "2.14.1", part="package"),
    *(Difference("numerics", f"conv{number}", "0", "1") for number in range(6)),
    Difference("config", "workers", "0", "2", harmless=True),
)
GOOD = Evidence(same_bits=True)
BAD = Evidence(same_bits=False, metric="test/accuracy", original=0.9, reproduced=0.8, parted="step 3: the loss")


@pytest.fixture
def original(project: Path) -> RunFolder:
    """A completed run that trained nothing."""
    (project / "net.py").write_text("")
    config = {"task": {"class": "net.py:Net"}, "data": "moons", "seed": 1}
    with Run.create("story", config=config, task="net.py:Net", allow_dirty=True, tensorboard=False) as run:
        run.record(results={"test/accuracy": 0.9, "test/loss": 0.5}, best={"metric": "val/accuracy"})
    return RunFolder.open(run.path)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, original: RunFolder) -> Callable[..., list[Any]]:
    """Puts an answer in the place of a reproduction, and gives what it was called with."""

    def give(evidence: Evidence, **more: Any) -> list[Any]:
        calls: list[Any] = []

        def answer(run: RunFolder, wishes: Any, effort: Any, *, listener: Any) -> Reproduction:
            calls.extend((run, wishes, effort))
            code = Checkout(Path("/c"), Path("/c"), (), {}, ("big.bin",), {".env": "may hold a secret"})
            listener.prepared(preparation.Preparation(Request({}, "/c"), code, DIFFERENCES, data_changed=False))
            listener.stage("training again, in a fresh process")
            listener.line("should it be interrupted: deepdiva resume x")
            listener.line("epoch   1/1")
            now = RunFolder(run.path, {**run.record, "results": {"test/accuracy": 0.8, "test/loss": 0.5}})
            return replace(Reproduction(run, now, decide(evidence)), **more)

        monkeypatch.setattr(reproduce, "reproduce", answer)
        return calls

    return give


def test_nothing_is_executed_where_nobody_can_agree(cli: Cli, original: RunFolder, answers):
    calls = answers(GOOD)
    answer = cli("reproduce", "last")
    assert answer.code == 2
    assert answer.err.startswith(f"error: the code of run {original.id} would be executed here")
    assert "--yes" in answer.err
    assert calls == []


@pytest.mark.parametrize("said", [True, False])
def test_a_person_is_asked(cli: Cli, original: RunFolder, answers, said: bool, monkeypatch: pytest.MonkeyPatch):
    calls = answers(GOOD)
    questions: list[str] = []
    monkeypatch.setattr(consent, "ask", lambda runs, question: questions.append(question) or said)
    answer = cli("reproduce", original.path)
    assert questions == ["it is executed on this machine, with your rights: go on?"]
    assert bool(calls) == said
    assert answer.code == (0 if said else 2)
    assert ("nothing was executed" in answer.err) != said


def test_whose_code_it_is_is_said_in_a_script_as_well(cli: Cli, original: RunFolder, answers):
    answers(GOOD)
    assert f"the code of run {original.id}: commit " in cli("reproduce", "last", "--yes").err
    assert "with net.py:Net" in cli("reproduce", "last", "--yes").err


def test_the_same_bits(cli: Cli, original: RunFolder, answers):
    calls = answers(GOOD)
    answer = cli("reproduce", "last", "--yes")
    assert answer.code == 0
    lines = answer.out.strip().splitlines()
    assert lines[0] == "BIT-IDENTICAL: every digest of the state is equal"
    assert re.search(r"test/loss +0\.5000 +0\.5000   the same", answer.out)
    assert re.search(r"test/accuracy +0\.9000 +0\.8000   -0\.1", answer.out)
    assert lines[-3].startswith("original   ")
    assert lines[-1].endswith("reproduction.json")
    assert calls[1] == preparation.Wishes()
    assert calls[2] == Effort()


def test_differences_are_listed_before_the_training(cli: Cli, original: RunFolder, answers):
    answers(GOOD)
    err = cli("reproduce", "last", "--yes").err
    assert err.index("torch  2.14.0 → 2.14.1") < err.index("training again")
    assert "6 operations give other bits here: conv0, conv1, conv2, conv3 and 2 more" in err
    assert "harmless     workers 0 → 2" in err
    assert ".env: is missing" in err
    assert "big.bin: too big for the copy" in err
    assert "deepdiva resume" not in err  # its code is gone when it ends


def test_another_result_says_where_and_how_much(cli: Cli, original: RunFolder, answers):
    answers(BAD, divergence=Divergence("loss", "other", step=3))
    answer = cli("reproduce", "last", "--yes")
    assert answer.code == 3
    assert answer.out.strip().startswith("INCONCLUSIVE: ")
    assert "a difference of -0.1" in answer.out
    assert "the two first part at step 3: the loss" in answer.out
    assert "\nlook       deepdiva why " in answer.out


def test_a_repetition_that_left_nothing_has_a_verdict(cli: Cli, original: RunFolder, answers):
    answers(Evidence(failure="the process broke down"), run=None)
    answer = cli("reproduce", "last", "--yes")
    assert answer.code == 3
    assert answer.out.strip().startswith("INCONCLUSIVE: the process broke down")


def test_the_answer_for_machines(cli: Cli, original: RunFolder, answers):
    answers(BAD)
    answer = cli("reproduce", "last", "--yes", "--json")
    assert answer.code == 3
    document = json.loads(answer.out)
    assert document["verdict"]["verdict"] == "INCONCLUSIVE"
    assert document["original"]["id"] == original.id
    assert document["path"] == str(original.path.relative_to(Path.cwd()))
    assert len(document["differences"]) == 8


def test_options_become_wishes(cli: Cli, original: RunFolder, answers, tmp_path: Path):
    calls = answers(GOOD)
    words = ["--data", tmp_path, "--environment", "recreate", "--threads", 3, "--workers", 1, "--device", "cpu"]
    words += ["--keep-code", "kept", "--allow-changed-data", "--runs-dir", "runs", "--reruns", 7]
    words += ["--replicates", 4, "--margin", 0.02, "--metric", "test/loss", "--originals", original.path]
    assert cli("reproduce", original.path, "--yes", *words).code == 0
    assert calls[1] == preparation.Wishes(
        tmp_path, "recreate", 3, "cpu", 1, allow_changed_data=True, runs_dir=Path("runs"), keep_code=Path("kept")
    )
    effort = calls[2]
    assert (effort.reruns, effort.replicates, effort.margin, effort.metric) == (7, 4, 0.02, "test/loss")
    assert [run.id for run in effort.originals] == [original.id]
    assert cli("reproduce", original.path, "--yes", "--originals", "runs").code == 0
    assert [run.id for run in calls[5].originals] == [original.id]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--replicates", 3], "belong together"),
        (["--audit-seed", 3], "say how many"),
        (["--audit", 3, "--replicates", 3, "--margin", 0.1], "one of them"),
        (["--threads", "many"], "invalid int value"),
        (["--environment", "other"], "invalid choice"),
    ],
    ids=["margin", "audit seed", "audit", "threads", "environment"],
)
def test_mistakes_are_refused_before_anybody_is_asked(cli: Cli, original, answers, words: list[Any], message: str):
    calls = answers(GOOD)
    answer = cli("reproduce", "last", *words, "--yes")
    assert answer.code == 2
    assert message in answer.err
    assert calls == []


def test_an_empty_folder_of_originals_is_a_mistake(cli: Cli, original, answers, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    answers(GOOD)
    assert "there is no run in it" in cli("reproduce", "last", "--yes", "--originals", tmp_path / "empty").err


def test_nothing_that_differs_is_said_as_well():
    assert [line for line, _ in described([])] == [
        "nothing: configuration, code, data, packages, machine and arithmetic are as they were"
    ]
    assert "data" not in next(described([], is_data_proved=False))[0]
    many = [Difference("code", f"f{number}.py", "a" * 99, None) for number in range(25)]
    lines = [line for line, _ in described(many)]
    assert len(lines) == 21
    assert lines[0].endswith("… → absent")
    assert lines[-1] == "… and 5 more"


@pytest.mark.parametrize(
    ("replay", "hindrance", "code", "words"),
    [
        (Replay(Segment(0, 5)), "", 0, ["BIT-IDENTICAL: 1 of 1", "33 %"]),
        (Replay(Segment(0, 5), ("the loss of step 2",)), "", 1, ["DIFFERENT: 0 of 1"]),
        (Replay(Segment(0, 5), ("the loss",)), "not the same here: torch", 3, ["INCONCLUSIVE", "prove nothing"]),
        (Replay(Segment(0, 5), failure="boom"), "", 3, ["INCONCLUSIVE"]),
    ],
    ids=["exact", "changed", "elsewhere", "failed"],
)
def test_audits(cli: Cli, original, monkeypatch, replay: Replay, hindrance: str, code: int, words: list[str]):
    calls: list[Any] = []

    def answer(run: RunFolder, count: int, wishes: Any, *, seed: int, listener: Any) -> Audit:
        calls.append((count, seed))
        return Audit(run, 3, seed, (replay,), 1 / 3, hindrance)

    monkeypatch.setattr(audit, "audit", answer)
    found = cli("reproduce", "last", "--yes", "--audit", 1, "--audit-seed", 5)
    assert found.code == code
    assert calls == [(1, 5)]
    assert all(word in found.out for word in words)
    assert "--training.keep-every 1" in found.out
    document = json.loads(cli("reproduce", "last", "--yes", "--audit", 1, "--json").out)
    assert document["exit_code"] == code
    assert math.isclose(document["odds"], 1 / 3)


def test_help_says_what_each_verdict_ends_with(cli: Cli):
    text = cli("reproduce", "--help").out
    assert "DIFFERENT (1), INCONCLUSIVE (3)" in text
    assert all(line == line.rstrip() and len(line) <= 120 for line in text.splitlines())
