"""Cost of the fingerprints of every step, as a share of a ResNet-18 step at batch 64, and of SHA-256 at every epoch.

Command:   .venv/bin/python benchmarks/bench_fingerprint.py
Expected:  fingerprints of a step under 2 % of it, for images of 32x32 and of 64x64
A step's fingerprints are the digest of the state, of the batch, the bits of the loss, and their writing by the block.
Steps and fingerprints take turns on one thread; CPU time, medians over the turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from deepdiva.engine import determinism

determinism.prepare("invariant")

import numpy as np  # noqa: E402 - the level's variables come first
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torchvision.models import resnet18  # noqa: E402

from deepdiva.engine.fingerprint import (  # noqa: E402
    StepDigest,
    batch_digest,
    loss_bits,
    state_digest,
    step_digest,
)
from deepdiva.runs.lines import LineLog  # noqa: E402
from deepdiva.runs.storage import Storage  # noqa: E402

BLOCK = 64
BATCH = 64


def timed(function: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    began = time.process_time()
    function()
    return time.process_time() - began


def measure(side: int, turns: int) -> None:
    """Prints one line for images of a size."""
    torch.manual_seed(0)
    model = resnet18(num_classes=10)
    model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    if side > 32:  # the usual stem
        model = resnet18(num_classes=10)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    inputs, targets = torch.randn(BATCH, 3, side, side), torch.randint(10, (BATCH,))
    digest, indices = StepDigest(model), np.arange(BATCH)

    def step() -> None:
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def record() -> dict[str, object]:
        state = step_digest(digest())  # type: ignore[arg-type]
        return {"step": 1000, "loss": loss_bits(0.5), "batch": batch_digest([indices]), "state": state}

    def epoch() -> None:
        weights = model.state_dict()
        state_digest(weights)
        state_digest({"optimizer": optimizer.state_dict()})

    step()
    record()
    pairs = [(timed(step), timed(record)) for _ in range(turns)]
    with tempfile.TemporaryDirectory() as folder:
        log = LineLog(Path(folder) / "fingerprints.jsonl", Storage())
        records = [record() for _ in range(BLOCK)]
        writing = statistics.median(timed(lambda: (log.append(records), log.flush())) for _ in range(5)) / BLOCK
    of_step = statistics.median(pair[0] for pair in pairs)
    share = statistics.median((pair[1] + writing) / pair[0] for pair in pairs)
    print(
        f"{side}x{side}: a step {of_step * 1e3:7.0f} ms; fingerprints "
        f"{(statistics.median(pair[1] for pair in pairs) + writing) * 1e3:5.2f} ms (writing {writing * 1e6:.0f} µs), "
        f"{share:.2%} of it; SHA-256 of model and optimizer {timed(epoch) * 1e3:.0f} ms an epoch"
    )


def main() -> None:
    """Measures both sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    turns = parser.parse_args().turns
    determinism.apply("invariant", 1)
    for side in (32, 64):
        measure(side, turns)


if __name__ == "__main__":
    main()
