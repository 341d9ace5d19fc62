"""SIGKILL at twenty instants, resumed each time: the run is, bit for bit, the one that was never killed."""

from __future__ import annotations

import json
import os
import random
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepdiva import Config, DataSplits, RunFolder, Score, StepOutput, Task, resume, train
from deepdiva.engine.task import Evaluation
from deepdiva.runs.storage import System


class Clouds:
    """Two clouds in four dimensions, whose samples tremble when they are read."""

    def __init__(self, size: int, seed: int, *, trembling: bool) -> None:
        self.targets = torch.arange(size) % 2
        self.inputs = torch.randn(size, 4, generator=torch.Generator().manual_seed(seed)) + self.targets[:, None]
        self.trembling = trembling

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        noise = 0.1 * torch.randn(4) + 0.1 * float(np.random.rand()) if self.trembling else 0.0
        return self.inputs[index] + noise, self.targets[index]


class Bomb:
    """Kills this process at the `left`-th moment of a kind; in a call that writes, when half is written."""

    def __init__(self, kind: str, left: int) -> None:
        self.kind = kind
        self.left = left
        self._path = Path()
        self._armed = False

    def tick(self, kind: str) -> bool:
        """Counts a moment; whether the last one has come."""
        self.left -= kind == self.kind
        return self.left == 0 and kind == self.kind

    def moment(self, kind: str) -> None:
        """Ends it all if this is the moment; with the first one the calls to the disk are counted, too."""
        self.arm()
        if self.tick(kind):
            os.kill(os.getpid(), signal.SIGKILL)

    def arm(self) -> None:
        """Looks over the shoulder of every call that changes the disk."""
        if self._armed:
            return
        self._armed = True
        for name in ("open", "write", "truncate", "replace", "unlink", "make_directory", "remove_tree"):
            setattr(System, name, self._watched(getattr(System, name)))

    def _watched(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(system: System, *arguments: Any) -> Any:
            if isinstance(arguments[0], Path):
                self._path = arguments[0]
            name = self._path.as_posix()
            kind = next((part for part in ("checkpoints", ".jsonl", "run.json") if part in name), "other")
            if self.tick(kind):
                if real.__name__ == "write":
                    os.write(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(system, *arguments)

        return call


@dataclass(frozen=True)
class Trembling(Task):
    """Tells two clouds apart; its validations get worse after a while, so that the training ends early."""

    score: ClassVar[Score] = Score("accuracy")
    preset: ClassVar[Mapping[str, Any]] = {"model": {"class": "mlp", "hidden": [8], "dropout": 0.3}}
    bomb: ClassVar[Bomb | None] = None

    def load_data(self, source: str | None) -> DataSplits:
        train, val, test = (Clouds(size, seed, trembling=seed == 0) for seed, size in enumerate((49, 24, 24)))
        return DataSplits(train, val, test, supplies={"in_features": 4, "num_classes": 2}, classes=("left", "right"))

    def moment(self, kind: str) -> None:
        if Trembling.bomb is not None:
            Trembling.bomb.moment(kind)

    def step(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> StepOutput:
        self.moment("step" if model.training else "validation")
        inputs, targets = batch
        scores = model(inputs)
        right = scores.detach().argmax(1) == targets
        loss = nn.functional.cross_entropy(scores, targets)
        return StepOutput(loss, len(targets), {"right": right}, {"accuracy": right})

    def metrics(self, evaluation: Evaluation) -> Mapping[str, float]:
        self.moment("epoch")
        accuracy = float(evaluation.outputs["right"].double().mean())
        return {"accuracy": accuracy - 0.5 * max(0, evaluation.epoch - 3)}

    def predictions(self, evaluation: Evaluation) -> Mapping[str, Sequence[Any]]:
        return {"right": evaluation.outputs["right"].tolist()}


# What the process is killed in, and in which of so many such moments of one session at the latest.
KINDS = {"step": 24, "validation": 9, "epoch": 2, "checkpoints": 90, ".jsonl": 8, "run.json": 6}


def config(workers: int) -> Config:
    return Config(
        task="tests.stories.test_kills:Trembling",
        seed=3,
        threads=1,
        epochs=8,
        batch_size=4,
        workers=workers,
        scheduler="OneCycleLR",
        training={"ema": 0.9, "accumulate": 2, "clip_norm": 0.5, "patience": 2, "checkpoint_every": 4},
        logging={"figures": "none", "tensorboard": False},
    )


def evidence(run: RunFolder) -> dict[str, Any]:
    """All of a run that must be the same bit for bit, however often it was killed."""
    events = [
        [event["step"], event["epoch"], {tag: value for tag, value in event["values"].items() if "system/" not in tag}]
        for event in run.events()
    ]
    tensors = sorted(run.path.glob("checkpoints/*/*.safetensors"))
    return {
        "status": run.status,
        "digests": {name: run.digests[name] for name in ("config", "data", "weights", "state", "metrics")},
        "results": run.results,
        "best": run.record["best"],
        "events": json.dumps(events),
        "fingerprints": (run.path / "fingerprints.jsonl").read_bytes(),
        "predictions": (run.path / "predictions" / "test.csv").read_bytes(),
        "checkpoints": {path.relative_to(run.path).as_posix(): path.read_bytes() for path in tensors},
    }


def in_a_child(work: Callable[[], object], bomb: Bomb | None, *, armed: bool = True) -> bool:
    """Does it in a process of its own, forked from this one, and says whether that lived to the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside idle threads
        child = os.fork()
    if child == 0:
        code = 1
        try:
            Trembling.bomb = bomb
            if bomb is not None and armed:
                bomb.arm()
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status == 0


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(System, "fsync", lambda self, descriptor: None)  # a kill takes nothing that was written
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield tmp_path
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_is_killed_again_and_again_is_the_run_that_never_was(here: Path, workers: int):
    whole = train(config(0))
    expected = evidence(whole)
    assert 3 < whole.record["best"]["epoch"] + 2 < 8  # it stopped early
    choose, kills, proved = random.Random(workers), list[str](), list[bool]()
    folder: RunFolder | None = None
    while len(kills) < 10 or folder is not None:
        kind = list(KINDS)[len(kills) % len(KINDS)]
        bomb = Bomb(kind, choose.randint(1, KINDS[kind])) if len(kills) < 10 else None
        before = set(here.glob("runs/*/*/run.json"))
        if folder is None:
            lived = in_a_child(partial(train, config(workers)), bomb, armed=False)
            [record] = set(here.glob("runs/*/*/run.json")) - before
            folder = RunFolder.open(record.parent)
        else:
            lived = in_a_child(partial(resume, folder), bomb)
            folder = RunFolder.open(folder.path)
        if not lived:
            assert folder.status == "interrupted"
            kills.append(kind)
        else:
            assert evidence(folder) == expected, kills
            resumed = folder.record.get("resumed", [])
            proved += [entry["proved"]["same"] for entry in resumed if "proved" in entry]
            folder = None
    assert len(kills) == 10
    assert all(proved)
    assert len(proved) > 3
