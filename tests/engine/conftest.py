"""A small problem with every kind of randomness in it, and a trainer put together without a command line."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepdiva.config import Config
from deepdiva.engine.progress import Progress, RecordedProgress, SilentProgress
from deepdiva.engine.schedule import Schedule
from deepdiva.engine.seeding import Streams
from deepdiva.engine.task import DataSplits, Evaluation, Score, StepOutput, Task
from deepdiva.engine.trainer import Trainer
from deepdiva.runs.run import Run
from deepdiva.runs.storage import System


class Blobs:
    """Two clouds in four dimensions; `trembling`, each sample moves a little whenever it is read."""

    def __init__(self, size: int, *, seed: int, trembling: bool = False) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.targets = torch.arange(size) % 2
        self.inputs = torch.randn(size, 4, generator=generator) + 1.5 * (2.0 * self.targets[:, None] - 1)
        self.ids = [f"blob-{place:03d}" for place in range(size)]
        self.trembling = trembling

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs = self.inputs[index]
        if self.trembling:
            inputs = inputs + 0.1 * torch.randn(4) + 0.1 * float(np.random.rand()) + 0.1 * random.random()
        return inputs, self.targets[index]


@dataclass(frozen=True)
class Clouds(Task):
    """Tells two clouds apart."""

    trembling: bool = False
    size: int = 33
    poison: int = -1
    seen: ClassVar[list[str]] = []

    score: ClassVar[Score] = Score("accuracy")

    def load_data(self, source: str | None) -> DataSplits:
        train, val, test = (Blobs(size, seed=seed) for seed, size in enumerate((self.size, 16, 16)))
        train.trembling = self.trembling
        if self.poison >= 0:
            train.inputs[self.poison] = float("nan")
        return DataSplits(train, val, test, classes=("left", "right"))

    def step(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> StepOutput:
        inputs, targets = batch
        scores = model(inputs)
        right = scores.detach().argmax(1) == targets
        loss = nn.functional.cross_entropy(scores, targets)
        return StepOutput(loss, len(targets), {"right": right}, {"accuracy": right})

    def metrics(self, evaluation: Evaluation) -> Mapping[str, float]:
        return {"accuracy": float(evaluation.outputs["right"].double().mean())}

    def predictions(self, evaluation: Evaluation) -> Mapping[str, Sequence[Any]]:
        return {"right": evaluation.outputs["right"].tolist()}


def network(dropout: float = 0.2) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 2))


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, no waiting for the disk, and torch's switches afterwards as they were before."""
    monkeypatch.setattr(System, "fsync", lambda self, descriptor: None)
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        torch.use_deterministic_algorithms(deterministic)


@pytest.fixture
def blobs() -> type[Blobs]:
    return Blobs


@pytest.fixture
def clouds() -> type[Clouds]:
    return Clouds


@pytest.fixture
def make_network() -> Callable[..., nn.Module]:
    return network


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Run]:
    """Begins a run in a folder of its own, without the second that recording the environment would take."""
    monkeypatch.setattr("deepdiva.runs.environment.capture", lambda *_, **__: "0" * 64)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return lambda: Run.create("engine", config={"seed": 0}, tensorboard=False)


@pytest.fixture
def make_trainer(make_run: Callable[[], Run]) -> Callable[..., Trainer]:
    """A trainer over the clouds: `make_trainer(epochs=3, training={"accumulate": 2})`, settings as in `Config`."""

    def make(
        task: Task | None = None,
        *,
        model: nn.Module | None = None,
        optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None,
        schedule: Callable[[torch.optim.Optimizer], Schedule] | None = None,
        run: Run | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        **settings: Any,
    ) -> Trainer:
        defaults = {"epochs": 2, "batch_size": 8, "logging": {"figures": "none"}}
        config = Config(task="clouds", seed=seed, **{**defaults, **settings})
        streams, device = Streams(seed), torch.device("cpu")
        task = task or Clouds()
        data = task.load_data(None)
        streams.seed_globals("initialisation")
        model, run = model or network(), run or make_run()
        built = optimizer(model) if optimizer else torch.optim.AdamW(model.parameters(), lr=0.05, fused=True)
        return Trainer(
            task=task,
            data=data,
            model=model,
            optimizer=built,
            schedule=schedule(built) if schedule else Schedule(None, "epoch"),
            config=config,
            run=run,
            streams=streams,
            device=device,
            progress=RecordedProgress(progress or SilentProgress(), run.print_log),
        )

    return make
