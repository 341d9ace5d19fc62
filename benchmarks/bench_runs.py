"""What records cost: µs of CPU an event, a fingerprint and a figure, and seconds to list 10,000 runs.

    .venv/bin/python benchmarks/bench_runs.py

Expected on a quiet x86-64 core: an event of four scalars 7-12 µs (2 µs of them for TensorBoard), a fingerprint 3-5 µs,
10,000 runs listed in 0.2-0.4 s, or about 1 s when the index has to be made.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from deepdiva.runs.event_file import encode_scalars
from deepdiva.runs.events import EventLog
from deepdiva.runs.index import Condition, rows
from deepdiva.runs.lines import LineLog
from deepdiva.runs.storage import Storage
from deepdiva.runs.tensorboard import Mirror

STEPS, BLOCK, RUNS = 12_800, 64, 10_000


def event(step: int) -> dict[str, Any]:
    """An event as the loop logs it for every step."""
    tags = ("train/batch/loss", "train/batch/accuracy", "train/batch/learning_rate", "system/step_seconds")
    return {"step": step, "epoch": step // 500, "values": {tag: random.random() for tag in tags}, "time": time.time()}


def fingerprint(step: int) -> dict[str, Any]:
    """A fingerprint as the loop keeps it for every step."""
    return {"step": step, "loss": "3f8ccccd", "batch": "0123456789abcdef", "state": "0123456789abcdef"}


class Log(Protocol):
    """What takes blocks of records."""

    def append(self, records: Sequence[dict[str, Any]], /) -> None:
        """Take a block."""

    def flush(self) -> None:
        """Write what waits."""


def show_cost(name: str, log: Log, make: Callable[[int], dict[str, Any]]) -> None:
    """Print the least CPU time of five rounds, in µs a record."""
    blocks = [[make(step) for step in range(start, start + BLOCK)] for start in range(0, STEPS, BLOCK)]
    rounds = []
    for _ in range(5):
        began = time.process_time()
        for block in blocks:
            log.append(block)
        log.flush()
        rounds.append(time.process_time() - began)
    print(f"{name:<44}{min(rounds) / STEPS * 1e6:8.2f} µs")


def bench_logs(folder: Path) -> None:
    """Events with and without their mirror, and fingerprints."""
    storage = Storage()
    encode_scalars([event(0)])  # imports, and the table of checksums
    mirror = Mirror(folder / "tensorboard", storage)
    show_cost("event of 4 scalars, events.jsonl only", EventLog(folder / "plain.jsonl", storage), event)
    show_cost("event of 4 scalars, with TensorBoard", EventLog(folder / "both.jsonl", storage, mirror), event)
    show_cost("fingerprint", LineLog(folder / "fingerprints.jsonl", storage), fingerprint)


def bench_index(runs_dir: Path) -> None:
    """Ten thousand runs: the first listing makes the index, the second uses it."""
    for number in range(RUNS):
        folder = runs_dir / f"experiment-{number % 20}" / f"20260101T000000Z-{number:06x}"
        folder.mkdir(parents=True)
        record = {
            "schema": 1,
            "id": folder.name,
            "experiment": folder.parent.name,
            "status": "completed",
            "seed": number,
        }
        record |= {"results": {"test/accuracy": number / RUNS, "test/loss": 0.1}, "duration": 1.0}
        (folder / "run.json").write_text(json.dumps(record, indent=2))
    for name in ("made", "used", "used"):
        began = time.perf_counter()
        found = rows(runs_dir, where=[Condition.parse("test/accuracy>=0")], sort="-test/accuracy")
        print(f"{f'{len(found)} runs listed, the index is {name}':<44}{time.perf_counter() - began:8.2f} s")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        bench_logs(Path(name))
        bench_index(Path(name) / "runs")
