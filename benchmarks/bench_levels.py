"""Cost of each level of determinism, as training steps of three tasks in fresh processes, against `seeded`.

Command:   .venv/bin/python benchmarks/bench_levels.py
Expected:  `repeatable` and `invariant` about 1.0 times `seeded`; `portable` 1.1 to 1.6 times for small dense networks,
           3 to 5 times for convolutional ones, which go without oneDNN and with MKL's common path

Every level is a process of its own, since its variables are read when torch loads; the processes take turns, so that
all levels see the same moods of a shared machine. CPU time is compared, on one thread at each level. What is printed
are medians over the turns of the ratio within a turn, with its lowest and highest.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from deepdiva.engine import determinism

CASES = {"points, MLP": 300, "digits, small CNN": 40, "3x32x32, ResNet-18": 3}
"""Each task with its number of measured steps."""


def build(case: str) -> Callable[[], object]:
    """One training step of a case: forward, backward, optimizer."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    if case.startswith("points"):
        from deepdiva.models.mlp import MLP

        model: nn.Module = MLP(in_features=2, num_classes=2)
        inputs, targets = torch.randn(32, 2), torch.randint(2, (32,))
    elif case.startswith("digits"):
        from deepdiva.models.cnn import CNN

        model = CNN(num_classes=10)
        inputs, targets = torch.randn(64, 1, 8, 8), torch.randint(10, (64,))
    else:
        from torchvision.models import resnet18

        model = resnet18(num_classes=10)
        model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
        inputs, targets = torch.randn(16, 3, 32, 32), torch.randint(10, (16,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def measure_here(level: str) -> None:
    """Prints the CPU seconds of a step of every case at one level, as JSON."""
    granted = determinism.apply(level, 1)
    assert granted.granted == level, granted.reasons
    found = {}
    for case, steps in CASES.items():
        step = build(case)
        for _ in range(max(2, steps // 10)):
            step()
        began = time.process_time()
        for _ in range(steps):
            step()
        found[case] = (time.process_time() - began) / steps
    print(json.dumps(found))


def measure(level: str) -> dict[str, float]:
    """The same from a fresh process."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "--level", level],
        env=determinism.environment_of_new_process(level),
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measures all levels in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--level", choices=determinism.LEVELS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.level is not None:
        measure_here(arguments.level)
        return
    os.environ.pop("DEEPDIVA_REEXECUTED", None)
    turns = [{level: measure(level) for level in determinism.LEVELS} for _ in range(arguments.turns)]
    for case in CASES:
        of_seeded = statistics.median(turn["seeded"][case] for turn in turns)
        print(f"{case:<20} seeded {of_seeded * 1e3:8.2f} ms a step", end="")
        for level in determinism.LEVELS[1:]:
            ratios = sorted(turn[level][case] / turn["seeded"][case] for turn in turns)
            print(f", {level} {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})", end="")
        print()


if __name__ == "__main__":
    main()
