from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deepdiva import tasks
from deepdiva.config import Config, from_mapping
from deepdiva.experiments import diagnosis, fresh
from deepdiva.experiments.components import problems_of

MOODY = '''
import os
from dataclasses import dataclass

import torch
from trembling import Clouds, Trembling
from deepdiva import DataSplits


@dataclass(frozen=True)
class Moody(Trembling):
    """Whose steps draw from the operating system, or whose data order and weights no seed reaches."""

    stubborn: bool = False

    def build_model(self, create):
        model = create()
        if self.stubborn:
            for parameter in model.parameters():
                torch.nn.init.constant_(parameter, 0.01)
        return model

    def step(self, model, batch):
        inputs, targets = batch
        if self.stubborn:
            model.eval()
            return super().step(model, (torch.ones_like(inputs), torch.zeros_like(targets)))
        noise = torch.frombuffer(bytearray(os.urandom(4)), dtype=torch.uint8).float() / 2550
        return super().step(model, (inputs + noise, targets))
'''


@pytest.fixture(autouse=True)
def at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains in this process: what is compared is the same, and it takes no seconds to start."""
    monkeypatch.setattr(diagnosis, "train_fresh", lambda request, progress: fresh._train(request))
    monkeypatch.setattr(diagnosis, "_SECONDS", 0.05)


def findings(task: Any, **settings: Any) -> dict[str, diagnosis.Finding]:
    values = {"task": task, "seed": 3, "epochs": 9, "threads": 1, **settings}
    config: Config = tasks.configure(None, layers=[from_mapping(values, "test")], check_components=problems_of).config
    return {finding.name: finding for finding in diagnosis.diagnose(config)}


def test_a_good_task_gets_a_clean_bill_and_the_price_of_every_level() -> None:
    found = findings("trembling.py:Trembling")
    assert list(found) == [
        "level granted", "same bits twice", "seeds differ",
        "level seeded", "level repeatable", "level invariant", "level portable",
    ]  # fmt: skip
    assert all(finding.good for finding in list(found.values())[:3])
    assert "the measure" in found["level seeded"].found
    assert "%" in found["level invariant"].found
    assert "not granted here" in found["level portable"].found  # its variables must be there before this process begins


def test_the_operation_that_is_not_reproducible_is_named() -> None:
    Path("moody.py").write_text(MOODY)
    finding = findings("moody.py:Moody")["same bits twice"]
    assert not finding.good
    assert "step 1 differs" in finding.found
    assert "moody.py" in finding.found
    assert finding.mend


def test_a_task_that_no_seed_reaches_is_found_out() -> None:
    Path("moody.py").write_text(MOODY)
    finding = findings({"class": "moody.py:Moody", "stubborn": True})["seeds differ"]
    assert not finding.good
    assert "weights and losses" in finding.found
