"""CPU time from the command to the end of one short epoch, against a plain torch script that trains the same.

Command:   .venv/bin/python benchmarks/bench_startup.py
Expected:  `deepdiva run` without figures within 1 s of CPU time of the plain script, though it checks the
           configuration, copies the code, records the environment, validates twice, writes checkpoints and tests; with
           figures about 1 s more on a quiet machine, most of it matplotlib for the learning curves at the end;
           `--help`, `runs ls` and `runs show` under 0.15 s each
Every program is a process of its own; they run in turns, and medians are compared.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

DEEPDIVA = str(Path(sys.executable).with_name("deepdiva"))
PLAIN = """
import torch
from torch import nn
torch.manual_seed(0)
torch.set_num_threads(1)
x = torch.randn(600, 2)
y = (x[:, 0] > 0).long()
sizes = [2, 64, 64, 64]
layers = [layer for pair in zip(sizes, sizes[1:]) for layer in (nn.Linear(*pair), nn.ReLU())]
model = nn.Sequential(*layers, nn.Linear(64, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
for indices in torch.randperm(600).split(32):
    loss = nn.functional.cross_entropy(model(x[indices]), y[indices])
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
"""


def cpu_seconds(command: list[str], folder: str) -> float:
    """User and system time of one child process, its own children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Bytecode on disk is what a user has; an environment that forbids it would be measured instead of us.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measures all programs in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=7)
    turns = parser.parse_args().turns
    train = [DEEPDIVA, "run", "points", "--epochs", "1", "--threads", "1", "--seed", "0"]
    programs = {
        "plain script": [sys.executable, "-c", PLAIN],
        "deepdiva run": train,
        "... without figures": [*train, "--figures", "none"],
        "--help": [DEEPDIVA, "--help"],
        "runs ls": [DEEPDIVA, "runs", "ls"],
        "runs show": [DEEPDIVA, "runs", "show", "last"],
    }
    costs: dict[str, list[float]] = {name: [] for name in programs}
    with tempfile.TemporaryDirectory() as folder:
        cpu_seconds(train, folder)
        for _ in range(turns):
            for name, command in programs.items():
                costs[name].append(cpu_seconds(command, folder))
    plain = statistics.median(costs["plain script"])
    for name, values in costs.items():
        middle = statistics.median(values)
        beside = f"  {middle - plain:+.2f} s against the plain script" if programs[name][:4] == train[:4] else ""
        print(f"{name:<20}  {middle:6.3f} s CPU{beside}")


if __name__ == "__main__":
    main()
