"""`check` tries a task as it is configured, from the name to the last point."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepdiva.config import read_file
from deepdiva.errors import UserErrors
from deepdiva.experiments.check import check


def test_a_task_of_ones_own_is_checked_as_it_is_configured():
    words = ["--threads", "1", "--batch-size", "6", "--extra-draws", "2"]
    outcomes = {outcome.name: outcome for outcome in check("trembling.py:Trembling", words=words)}
    assert [outcome.detail for outcome in outcomes.values() if not outcome.passed] == []
    assert "over 6 samples" in outcomes["step"].detail


def test_settings_may_come_from_a_file():
    Path("small.yaml").write_text("task: trembling.py:Trembling\nbatch_size: 5\nthreads: 1\n")
    outcomes = {outcome.name: outcome for outcome in check(None, layers=[read_file(Path("small.yaml"))])}
    assert "over 5 samples" in outcomes["step"].detail


def test_a_broken_task_fails_at_the_point_that_is_broken():
    Path("broken.py").write_text(
        "from dataclasses import dataclass, replace\nfrom trembling import *\n\n"
        "@dataclass(frozen=True)\nclass Broken(Trembling):\n"
        "    def step(self, model, batch):\n"
        "        return replace(super().step(model, batch), size=1)\n"
    )
    outcomes = {outcome.name: outcome for outcome in check("broken.py:Broken", words=["--threads", "1"])}
    assert outcomes["step"].detail == "the batch has 8 samples, StepOutput.size says 1"
    assert outcomes["builds"].passed


def test_mistakes_in_the_settings_come_before_any_point():
    with pytest.raises(UserErrors, match="batch-size"):
        next(iter(check("trembling.py:Trembling", words=["--batch-siz", "6"])))
    with pytest.raises(UserErrors, match="hidden"):
        next(iter(check("trembling.py:Trembling", words=["--model.hiden", "[3]"])))
