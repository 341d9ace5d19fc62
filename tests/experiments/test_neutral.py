from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepdiva import RunFolder, tasks
from deepdiva.config import Config, from_mapping
from deepdiva.experiments import fresh, neutral
from deepdiva.experiments.components import problems_of

NOSY = '''
from dataclasses import dataclass

from trembling import Trembling

LOOKS = []


@dataclass(frozen=True)
class Nosy(Trembling):
    """Whose training depends on how often it was looked at."""

    def step(self, model, batch):
        inputs, targets = batch
        return super().step(model, (inputs + 0.01 * len(LOOKS), targets))

    def figures(self, model, evaluation):
        LOOKS.append(evaluation)
        return {}
'''


@pytest.fixture
def at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains in this process: what is compared is the same, and it takes no seconds to start."""
    monkeypatch.setattr(neutral, "train_fresh", lambda request, progress: fresh._train(request))


def whole(task: str, **settings: Any) -> Config:
    values = {"task": task, "seed": 3, "epochs": 2, "threads": 1, **settings}
    return tasks.configure(None, layers=[from_mapping(values, "test")], check_components=problems_of).config


@pytest.mark.usefixtures("at_hand")
def test_no_way_of_watching_changes_a_bit() -> None:
    outcomes = list(neutral.neutral(whole("trembling.py:Trembling")))
    assert [outcome.name for outcome in outcomes] == list(neutral.VARIATIONS)
    assert {outcome.weights for outcome in outcomes} == {outcomes[0].weights}
    assert all(outcome.same for outcome in outcomes)


@pytest.mark.usefixtures("at_hand")
def test_a_task_that_minds_being_watched_is_found_out() -> None:
    Path("nosy.py").write_text(NOSY)
    names = ("nothing logged", "everything logged and drawn")
    variations = {name: neutral.VARIATIONS[name] for name in names}
    quiet, watched = neutral.neutral(whole("nosy.py:Nosy"), variations=variations)
    assert quiet.same
    assert not watched.same
    assert "step" in watched.detail


def test_the_settings_of_a_trial_replace_those_of_the_user(run_task: Callable[..., RunFolder]) -> None:
    config = whole("trembling.py:Trembling", logging={"every": 5})
    request = neutral.request_for(config, Path("elsewhere"), {"logging.figures": "none"}, until=3)
    assert request.config["logging"] == {**config.to_mapping()["logging"], "figures": "none"}
    assert (request.config["runs_dir"], request.config["allow_dirty"], request.until) == ("elsewhere", True, 3)
    assert config.logging.every == 5
