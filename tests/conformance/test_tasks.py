"""Every task that comes with DeepDIVA keeps to the contract, with its own preset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from deepdiva import tasks
from deepdiva.experiments.check import check

# Settings that make the check quick; a task that is not named here runs with its preset.
SMALL = {
    "image-classification": ("--model.width", "8", "--batch-size", "32"),
    "points": ("--n", "200"),
}


@pytest.fixture(autouse=True)
def settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of the test's own, and torch's switches afterwards as they were before."""
    monkeypatch.chdir(tmp_path)
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.mark.parametrize("name", tasks.NAMES)
def test_the_task_keeps_to_the_contract(name: str):
    outcomes = list(check(name, words=["--threads", "1", *SMALL.get(name, ())]))
    assert {outcome.name: outcome.detail for outcome in outcomes if not outcome.passed} == {}
    assert len(outcomes) >= 11


@pytest.mark.parametrize("name", tasks.NAMES)
def test_the_task_says_what_it_is(name: str):
    cls = tasks.find(name)
    assert cls.__doc__
    assert "Args:" in cls.__doc__
    assert cls.preset.get("data")
    assert cls.preset.get("model")


def test_augmented_images_keep_to_the_contract():
    words = [
        "--threads",
        "1",
        "--model.width",
        "8",
        "--batch-size",
        "16",
        "--augment",
        "[{class: RandomCrop, size: 8, padding: 1}]",
    ]
    outcomes = list(check("image-classification", words=words))
    assert {outcome.name: outcome.detail for outcome in outcomes if not outcome.passed} == {}
