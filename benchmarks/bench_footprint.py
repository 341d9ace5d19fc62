"""Throughput of a footprint against `sha256sum`, and the time that a check of unchanged files takes.

Command:   .venv/bin/python benchmarks/bench_footprint.py
Expected:  on files in the page cache at least 0.9 times the throughput of one `sha256sum` on one core, and at least
           1.7 times on two; a quick check of 60,000 unchanged files in less than 1 s. Files of 1 kB stay on one
           thread at 0.9 to 1.0 times `sha256sum`: to open, stat and close one holds the interpreter's lock for longer
           than its hash takes, and listing, the manifest and the root digest are a third of the time
The programs run in turns over the same files; the ratio is taken within each turn, and its median is reported. DVC
takes part where it is installed.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deepdiva.data.footprint import footprint, verify


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Keeps this process and its children on some cores, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(before)[:count]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def seconds(call: Callable[[], object]) -> float:
    return costs(call)[0]


def costs(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of CPU time, this process and its children together."""
    began, before = time.perf_counter(), os.times()
    call()
    after = os.times()
    return time.perf_counter() - began, sum(after[:4]) - sum(before[:4])


def make(root: Path, *, count: int, size: int) -> Path:
    """Files of random bytes, 500 in a folder."""
    block = os.urandom(min(size, 1 << 20))
    for number in range(count):
        folder = root / f"{number // 500:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{number:06d}.bin").open("wb") as file:
            file.write(number.to_bytes(8, "big"))
            for _ in range(max(1, size // len(block))):
                file.write(block)
    return root


def sha256sum(root: Path) -> None:
    """One process over all files, as a person would start it."""
    command = f"find {root} -type f -print0 | xargs -0 -n 100000 sha256sum > /dev/null"
    subprocess.run(["sh", "-c", command], check=True)


def dvc(root: Path) -> float | None:
    """Seconds of `dvc add` in a project of its own; None where DVC is not installed."""
    program = shutil.which("dvc")
    if program is None:
        return None
    with tempfile.TemporaryDirectory(dir=root.parent) as project:
        copy = shutil.copytree(root, Path(project, "set"))
        subprocess.run([program, "init", "--no-scm", "-q"], cwd=project, check=True)
        return seconds(lambda: subprocess.run([program, "add", "-q", str(copy)], cwd=project, check=True))


def compare(name: str, root: Path, *, turns: int) -> None:
    """Ratios of throughput to one `sha256sum`."""
    size = sum(path.stat().st_size for path in root.rglob("*.bin"))
    programs: dict[str, tuple[int, Callable[[], object]]] = {
        "sha256sum": (1, lambda: sha256sum(root)),
        "footprint, one core": (1, lambda: footprint(root, deep=True, threads=1)),
        "footprint, two cores": (2, lambda: footprint(root, deep=True, threads=2)),
    }
    times: dict[str, list[tuple[float, float]]] = {program: [] for program in programs}
    for turn in range(turns + 1):  # the first fills the page cache
        for program, (cores, call) in programs.items():
            with on_cores(cores):
                spent = costs(call)
            if turn:
                times[program].append(spent)
    print(f"{name}: {size / 1e6:,.0f} MB; ratios to sha256sum of throughput by the clock, and for each CPU second")
    for program, pairs in times.items():
        base = times["sha256sum"]
        wall, cpu = ([b[kind] / max(o[kind], 0.01) for b, o in zip(base, pairs, strict=True)] for kind in (0, 1))
        middle = statistics.median(spent for spent, _ in pairs)
        print(
            f"  {program:<20}  {middle:7.3f} s  {size / middle / 1e6:6,.0f} MB/s"
            f"  {statistics.median(wall):5.2f} ({min(wall):.2f} to {max(wall):.2f})  CPU {statistics.median(cpu):5.2f}"
        )
    spent_by_dvc = dvc(root)
    if spent_by_dvc is not None:
        print(f"  {'dvc add':<20}  {spent_by_dvc:7.3f} s")


def quick(root: Path, *, turns: int) -> None:
    """Seconds of a check that finds nothing changed."""
    time.sleep(0.2)  # files that were touched a moment ago are not remembered
    taken = footprint(root)
    gc.disable()  # as the command does
    pairs = [costs(lambda: verify(taken, root)) for _ in range(turns)]
    gc.enable()
    wall, cpu = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"quick check of {len(taken.files):,} unchanged files: {wall:.3f} s by the clock, {cpu:.3f} s of CPU time")


def main() -> None:
    """Measures both, in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--dir", help="where to make the files (default: the system's temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        compare("16 large files", make(folder / "large", count=16, size=32 << 20), turns=arguments.turns)
        compare("2,000 photographs", make(folder / "photos", count=2_000, size=100_000), turns=arguments.turns)
        compare("10,000 small files", make(folder / "small", count=10_000, size=1000), turns=arguments.turns)
        quick(make(folder / "many", count=60_000, size=100), turns=arguments.turns)


if __name__ == "__main__":
    main()
