"""The first command of a newcomer: no option at all, and what comes out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.stories.conftest import Cli

from deepdiva.runs.folder import RunFolder

FILES = {"run.json", "config.yaml", "code", "environment", "data", "events.jsonl", "fingerprints.jsonl"}
FILES |= {"checkpoints", "predictions", "figures", "tensorboard", "log.txt"}


@pytest.mark.slow
def test_the_digits_are_learned_and_everything_is_recorded(cli: Cli, project: Path):
    answer = cli("run", "image-classification")
    assert answer.code == 0, answer.err
    [folder] = (project / "runs" / "image-classification").iterdir()
    run = RunFolder.open(folder)
    assert run.results["test/accuracy"] >= 0.985
    path = f"runs/image-classification/{run.id}"
    for command in (f"deepdiva reproduce {path}", f"deepdiva resume {path}", f"deepdiva board {path}"):
        assert command in answer.out
    assert f"test/accuracy                   {100 * run.results['test/accuracy']:.2f} %" in answer.out
    assert f"run {path}\n" in answer.err
    assert answer.err.count("\nepoch ") == 13

    assert {path.name for path in folder.iterdir()} >= FILES
    assert run.status == "completed"
    assert run.record["seed"] is not None
    assert len(run.record["test_reads"]) == 1
    assert {"config", "code", "data", "environment", "weights", "state", "metrics", "numerics"} == set(run.digests)
    assert run.record["determinism"]["granted"] == "invariant"
    assert len(run.predictions("test")["id"]) == 397
    assert len(list((folder / "figures" / "val" / "confusion").iterdir())) == 13
    assert list((folder / "figures" / "val" / "mistakes").iterdir())
    assert len(list(run.fingerprints())) >= 12 * 19

    [row] = json.loads(cli("runs", "ls", "--where", "test/accuracy>0.98", "--json").out)
    assert row["id"] == run.id
    assert run.digests["weights"] in cli("runs", "show", "last").out
    assert json.loads(cli("runs", "show", "last", "--json").out)["results"] == run.results
