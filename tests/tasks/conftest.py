"""A task with its data and model, put together without a run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deepdiva.engine.evaluation import evaluate
from deepdiva.engine.loaders import Loader
from deepdiva.engine.seeding import Streams
from deepdiva.engine.task import DataSplits, Evaluation, Task
from deepdiva.runs.storage import System


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """One thread, no waiting for the disk, a folder of one's own, and torch's switches afterwards as before."""
    monkeypatch.setattr(System, "fsync", lambda self, descriptor: None)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture
def look() -> Callable[..., Evaluation]:
    """One pass of a model over a split of a task: `look(task, data, model, "test")`."""

    def call(task: Task, data: DataSplits, model: nn.Module, split: str = "val", *, epoch: int = 0) -> Evaluation:
        streams, device = Streams(0), torch.device("cpu")
        samples = getattr(data, split)
        loader = Loader(samples, batch_size=32, streams=streams, device=device, workers=0, purpose=split)
        context = contextlib.nullcontext()
        return evaluate(task, model, loader, data, epoch=epoch, streams=streams, context=context, device=device)

    return call


@pytest.fixture
def write_points() -> Callable[..., Path]:
    """Writes a set of points: `write_points(folder, train=(places, labels), …)`."""

    def write(folder: Path, **splits: tuple[Any, Any]) -> Path:
        for split, (places, labels) in splits.items():
            (folder / split).mkdir(parents=True)
            rows = [f"{x:.6f},{y:.6f},{label}" for (x, y), label in zip(np.asarray(places), labels, strict=True)]
            (folder / split / "data.csv").write_text("\n".join(["x,y,label", *rows]) + "\n")
        return folder

    return write
