"""A user's own project: a task whose every part draws random numbers, run in this process or in one of its own."""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from deepdiva import Config, RunFolder, train
from deepdiva.engine import numerics
from deepdiva.engine.progress import Progress
from deepdiva.experiments import audit, fresh, replication, reproduce, surroundings
from deepdiva.experiments.fresh import Request
from deepdiva.runs.packages import installed_packages
from deepdiva.runs.storage import System

TASK = '''
"""Two clouds; every sample trembles when it is read, and user code draws wherever it can."""

import random
import time
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import nn

from deepdiva import DataSplits, Score, StepOutput, Task


class Clouds:
    def __init__(self, size, seed, trembling, pause):
        self.targets = torch.arange(size) % 2
        noise = torch.randn(size, 4, generator=torch.Generator().manual_seed(seed))
        self.inputs = noise + (2.0 * self.targets[:, None] - 1)
        self.ids = [f"cloud-{place:03d}" for place in range(size)]
        self.trembling = trembling
        self.pause = pause

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        time.sleep(self.pause)
        inputs = self.inputs[index]
        if self.trembling:
            inputs = inputs + 0.1 * torch.randn(4) + 0.1 * float(np.random.rand()) + 0.1 * random.random()
        return inputs, self.targets[index]


@dataclass(frozen=True)
class Trembling(Task):
    """Tells two clouds apart.

    Args:
        extra_draws: Numbers drawn from every global generator by each part of this task.
        pause: Seconds that reading one sample takes.
    """

    extra_draws: int = 0
    pause: float = 0.0

    score = Score("accuracy")
    preset = {
        "model": {"class": "mlp", "hidden": [16], "dropout": 0.3},
        "epochs": 3,
        "batch_size": 8,
        "optimizer": {"class": "AdamW", "lr": 0.02},
        "scheduler": "OneCycleLR",
    }

    def draw(self):
        torch.rand(self.extra_draws), np.random.rand(self.extra_draws)
        [random.random() for _ in range(self.extra_draws)]

    def load_data(self, source):
        self.draw()
        splits = [Clouds(size, seed, seed == 0, self.pause) for seed, size in enumerate((49, 24, 24))]
        return DataSplits(*splits, supplies={"in_features": 4, "num_classes": 2}, classes=("left", "right"))

    def step(self, model, batch):
        inputs, targets = batch
        scores = model(inputs)
        self.draw()
        right = scores.detach().argmax(1) == targets
        loss = nn.functional.cross_entropy(scores, targets)
        return StepOutput(loss, len(targets), {"right": right, "scores": scores.detach()}, {"accuracy": right})

    def metrics(self, evaluation):
        self.draw()
        return {"accuracy": float(evaluation.outputs["right"].double().mean())}

    def predictions(self, evaluation):
        return {"score": evaluation.outputs["scores"][:, 1].tolist()}

    def figures(self, model, evaluation):
        self.draw()
        model(torch.randn(3, 4))
        return {"noise": Image.fromarray(np.random.randint(0, 256, (4, 4), dtype=np.uint8))}
'''
QUIET = {"figures": "none", "tensorboard": False}
Train = Callable[..., RunFolder]


@dataclass(frozen=True)
class Child:
    """A `deepdiva run` in a process group of its own."""

    process: subprocess.Popen[str]
    runs: Path

    @property
    def run(self) -> Path | None:
        """Its run folder, once there is one."""
        return next((path.parent for path in self.runs.glob("*/*/run.json")), None)


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A folder with the task in it; no waiting for the disk, the packages looked up once, torch as it was before."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "trembling.py").write_text(TASK)
    monkeypatch.chdir(here)
    monkeypatch.setattr(System, "fsync", lambda self, descriptor: None)
    monkeypatch.setattr("deepdiva.runs.environment.installed_packages", _packages)
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@functools.cache
def _packages() -> Any:
    return installed_packages()


@pytest.fixture
def run_task() -> Train:
    """Trains the trembling clouds: `run_task(epochs=2, training={…}, task={"extra_draws": 3})`, quietly by default."""

    def call(
        *, task: Mapping[str, Any] | None = None, logging: Mapping[str, Any] | None = None, **more: Any
    ) -> RunFolder:
        named = {"class": "trembling.py:Trembling", **(task or {})}
        settings = {"seed": 0, "threads": 1, **more}
        return train(Config(task=named, logging={**QUIET, **(logging or {})}, **settings))

    return call


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Starts the same training in a process of its own; what is left of it afterwards is killed."""
    children: list[Child] = []

    def call(*words: str) -> Child:
        runs = tmp_path / "here" / f"child-{len(children)}"
        command = [sys.executable, "-m", "deepdiva.cli.main", "run", "trembling.py:Trembling", "--seed", "0"]
        command += ["--threads", "1", "--no-tensorboard", "--runs-dir", str(runs), *words]
        command += [] if "--figures" in words else ["--figures", "none"]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
        children.append(Child(process, runs))
        return children[-1]

    yield call
    for child in children:
        if child.process.poll() is None:
            child.process.kill()
        child.process.communicate()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Trains in this process what would be trained in fresh ones, which takes seconds each; gives the requests."""
    asked: list[Request] = []

    def train_here(request: Request, *, progress: Progress | None = None) -> RunFolder:
        asked.append(request)
        if progress is not None:
            monkeypatch.setattr(fresh, "_Lines", lambda *_: progress)
        with contextlib.chdir(request.directory):
            try:
                document: dict[str, Any] = {"path": str(fresh._train(request).path)}
            except BaseException as error:
                document, _ = fresh._described(error)
        return fresh._understood(document, [])

    def survey_here(request: Request, destination: Path) -> None:
        with contextlib.chdir(request.directory):
            surroundings.record(request, destination)

    for module in (reproduce, replication, audit):
        monkeypatch.setattr(module, "train_fresh", train_here)
    monkeypatch.setattr(surroundings, "survey", survey_here)
    return asked


@pytest.fixture
def other_arithmetic(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """From the call on, one operation gives other bits; gives its name."""

    def change() -> str:
        here = numerics.fingerprint()
        name = next(name for name in here.operations if name.startswith("conv2d"))
        there = replace(here, operations={**here.operations, name: "0" * 16})
        monkeypatch.setattr(numerics, "fingerprint", lambda device=None: there)
        return name

    return change
