"""Cost of our loop, everything recorded, against a loop written by hand: the same batches, model and optimizer.

Command:   .venv/bin/python benchmarks/bench_loop.py
Expected:  tiny MLP   at most 1.12 times the loop by hand (at most 40 µs a step more)
           small CNN  at most 1.05 times the loop by hand
Both loops run in turns, one epoch each, on one thread. CPU time is compared within each turn, since a shared machine
is faster at one moment than at the next; what is printed are medians over the turns, with the quartiles of the ratio.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from deepdiva.engine import determinism

determinism.prepare("invariant")

import torch  # noqa: E402 - the level's variables come first
from torch import nn  # noqa: E402

from deepdiva import tasks  # noqa: E402
from deepdiva.engine.interrupt import Interruption  # noqa: E402
from deepdiva.engine.loaders import plan_epoch  # noqa: E402
from deepdiva.engine.progress import SilentProgress  # noqa: E402
from deepdiva.engine.schedule import Schedule  # noqa: E402
from deepdiva.engine.seeding import Streams  # noqa: E402
from deepdiva.engine.trainer import Trainer  # noqa: E402
from deepdiva.models.cnn import CNN  # noqa: E402
from deepdiva.runs.run import Run  # noqa: E402

CASES = {"tiny MLP": ("mlp", 32), "small CNN": ("cnn", 64)}


class TinyMLP(nn.Module):
    """64 inputs, two hidden layers of 128, ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Scores (N, 10) of images (N, 1, 8, 8)."""
        scores: torch.Tensor = self.layers(images)
        return scores


def build(kind: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model and its optimizer, the same for both loops."""
    torch.manual_seed(0)
    model = TinyMLP() if kind == "mlp" else CNN(num_classes=10)
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)


class HandWritten:
    """The loop as one writes it: batches from memory, loss, backward, step; nothing recorded."""

    def __init__(self, kind: str, batch_size: int) -> None:
        self.model, self.optimizer = build(kind)
        data = tasks.create(tasks.configure("image-classification")).load_data("digits").train
        self.images = data.inputs.float().div_(255)  # type: ignore[attr-defined]
        self.targets = data.targets  # type: ignore[attr-defined]
        self.batch_size = batch_size

    def epoch(self, number: int) -> int:
        """Trains one epoch; gives the number of steps."""
        criterion, plan = nn.CrossEntropyLoss(), plan_epoch(len(self.images), self.batch_size, order_key=number)
        self.model.train()
        for indices in map(torch.from_numpy, plan):
            images, targets = self.images.index_select(0, indices), self.targets.index_select(0, indices)
            loss = criterion(self.model((images - 0.3) / 0.38), targets)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return len(plan)


class Ours:
    """The project's loop, with events, TensorBoard and fingerprints of every step."""

    def __init__(self, kind: str, batch_size: int, folder: Path) -> None:
        model, optimizer = build(kind)
        words = ["--batch-size", str(batch_size), "--epochs", "1000000", "--seed", "0", "--threads", "1"]
        words += ["--loss", "CrossEntropyLoss", "--loss.label-smoothing", "0"]
        resolved = tasks.configure("image-classification", words=words)
        task = tasks.create(resolved)
        self.run = Run.create("bench", config=resolved.config, runs_dir=folder, allow_dirty=True)
        device = torch.device("cpu")
        self.trainer = Trainer(
            task=task,
            data=task.load_data("digits"),
            model=model,
            optimizer=optimizer,
            schedule=Schedule(None, "epoch"),
            config=resolved.config,
            run=self.run,
            streams=Streams(0, device),
            device=device,
            progress=SilentProgress(),
        )

    def epoch(self, number: int) -> int:
        """Trains one epoch; gives the number of steps."""
        before = self.trainer.position.step
        self.trainer._train_epoch(number, Interruption())
        self.trainer.position.step_in_epoch = 0
        return self.trainer.position.step - before


def measure(name: str, turns: int) -> None:
    """Prints one line for a case."""
    kind, batch_size = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        loops = {"by hand": HandWritten(kind, batch_size), "ours": Ours(kind, batch_size, Path(folder))}
        costs: dict[str, list[float]] = {loop: [] for loop in loops}
        for turn in range(1, turns + 1):
            for loop, trainer in loops.items():
                started = time.process_time()
                steps = trainer.epoch(turn)
                if turn > 2:
                    costs[loop].append((time.process_time() - started) / steps * 1e6)
    pairs = list(zip(costs["by hand"], costs["ours"], strict=True))
    low, ratio, high = statistics.quantiles([ours / hand for hand, ours in pairs], n=4)
    more = statistics.median(ours - hand for hand, ours in pairs)
    hand = statistics.median(costs["by hand"])
    print(
        f"{name:<10}  by hand {hand:7.0f} µs a step, ours {more:+5.0f} µs: {ratio:.3f} times ({low:.3f} to {high:.3f})"
    )


def main() -> None:
    """Measures both cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=120)
    turns = parser.parse_args().turns
    determinism.apply("invariant", 1)
    os.chdir(tempfile.gettempdir())
    for name in CASES:
        measure(name, turns if name == "tiny MLP" else max(4, turns // 4))


if __name__ == "__main__":
    main()
