"""Committed results of default runs: a change that moves them by more than the tolerance must say so and renew them.

Bits are never compared here: other processors and other versions of torch round differently.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Answer

from deepdiva.runs.folder import RunFolder

GOLDEN = json.loads(Path(__file__).with_name("results.json").read_text())


@pytest.mark.parametrize("run", GOLDEN, ids=lambda run: " ".join(run["words"]))
def test_results_stay_what_they_were(run: dict, cli: Callable[..., Answer], project: Path):
    usual = ("--seed", 1, "--threads", 1, "--figures", "none", "--no-tensorboard", "--json")
    answer = cli("run", *run["words"], *usual)
    assert answer.code == 0, answer.err
    results = RunFolder.open(json.loads(answer.out)["path"]).results
    assert set(results) == set(run["results"])
    moved = {
        name: f"{results[name]} instead of {value} ± {run['tolerance'][name]}"
        for name, value in run["results"].items()
        if not abs(results[name] - value) <= run["tolerance"][name]
    }
    assert not moved


def test_the_default_run_promises_what_the_readme_says():
    default = next(run for run in GOLDEN if run["words"] == ["image-classification"])
    assert default["results"]["test/accuracy"] - default["tolerance"]["test/accuracy"] >= 0.985
