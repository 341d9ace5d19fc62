from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepdiva import RunFolder, tasks
from deepdiva.config import from_mapping
from deepdiva.engine import checkpoint
from deepdiva.experiments.components import problems_of
from deepdiva.experiments.excerpt import Excerpt
from deepdiva.experiments.train import train_resolved

STEPS = 7  # of an epoch: 49 samples, 8 a batch, the one left over joins the last


def train_part(run: RunFolder, excerpt: Excerpt, **settings: Any) -> RunFolder:
    """A part of the training of `run`, in a run of its own."""
    layer = from_mapping({**run.config(), "runs_dir": "parts", **settings}, "the whole run")
    resolved = tasks.configure(None, layers=[layer], check_components=problems_of)
    return train_resolved(resolved, kind="replay", parent=run.id, code=run.path / "code", excerpt=excerpt)


@pytest.fixture
def whole(run_task: Any) -> RunFolder:
    return run_task(training={"keep_every": 1, "checkpoint_every": 4}, model={"class": "mlp", "dropout": 0.3})


def recorded(run: RunFolder, step: int) -> dict[str, str]:
    """The digests that a checkpoint of `run` holds."""
    return checkpoint.load(checkpoint.folder(run.path / "checkpoints", step)).training["digests"]


@pytest.mark.parametrize("start", [None, 6])
def test_a_part_up_to_the_end_of_an_epoch_ends_in_the_state_of_the_checkpoint_there(
    whole: RunFolder, start: int | None
) -> None:
    first = None if start is None else checkpoint.folder(whole.path / "checkpoints", start)
    part = train_part(whole, Excerpt(start=first, until=12))
    assert part.digests["weights"] == recorded(whole, 12)["weights"]
    assert part.digests["state"] == recorded(whole, 12)["state"]
    assert part.results == {}
    assert part.record["test_reads"] == []
    lines = {line["step"]: line for line in whole.fingerprints() if "loss" in line}
    steps = [line for line in part.fingerprints() if "loss" in line]
    assert [line["step"] for line in steps] == list(range((start or 0) + 1, 13))
    assert all(line == lines[line["step"]] for line in steps)


def test_a_part_may_end_in_the_middle_of_an_epoch(whole: RunFolder) -> None:
    part = train_part(whole, Excerpt(until=3))
    assert [line["step"] for line in part.fingerprints()] == [1, 2, 3]
    assert part.status == "completed"
    assert not [event for event in part.events() if event["step"] == 3 and "val/loss" in event["values"]]


def test_a_part_is_recorded_with_the_code_of_the_whole(whole: RunFolder) -> None:
    Path("trembling.py").write_text(Path("trembling.py").read_text() + "\n# moved on\n")
    part = train_part(whole, Excerpt(until=1))
    assert part.digests["code"] == whole.digests["code"]
    assert (part.path / "code" / "source.tar.gz").read_bytes() == (whole.path / "code" / "source.tar.gz").read_bytes()


def test_a_nudge_is_as_small_as_can_be_and_has_a_number(whole: RunFolder) -> None:
    def first(number: int | None) -> tuple[str, float]:
        part = train_part(whole, Excerpt(until=2, nudge=number))
        loss = next(event["values"]["val/loss"] for event in part.events("val/loss"))
        return part.digests["weights"], loss

    (plain, loss), (one, loss_one), (two, _) = first(None), first(1), first(2)
    assert len({plain, one, two}) == 3
    assert first(1)[0] == one
    assert abs(loss_one - loss) < 1e-5 * loss


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ValueError, match="no initial weights"):
        Excerpt(start=Path("x"), nudge=1)
    with pytest.raises(ValueError, match="which step"):
        Excerpt(trace=Path("x"))
    assert replace(Excerpt(), until=3).first_checkpoint() is None
