"""Analysing a folder of images against reading it with torchvision, on two cores, interleaved; ratios of time.

    .venv/bin/python benchmarks/bench_analyze.py

Compared with, each with two workers:
- bare: torchvision's `default_loader` for half of the files in each of two forked processes, nothing else at all;
- decode: torchvision's ImageFolder in a DataLoader that throws the decoded images away;
- loop: the same with ToTensor, and sums for mean and standard deviation.

Ours hashes every file, decodes it, counts its levels, signs its pixels, and finds duplicates. CPU time is that of all
processes, and says most on a machine that others use as well.

Measured on a busy two-core x86-64 machine (CPU time, ratio to ours): PNG bare 1.0, decode 1.0 to 1.1, loop 5.5 to 6.1;
JPEG bare 0.7 to 0.9, decode 1.05, loop 6.6 to 7.1. So it costs no more than ImageFolder in a DataLoader that decodes
and throws the images away, and for small files no more than a bare loop: plain files go to Pillow's decoders directly,
which takes half of the time of a small PNG, and pays for hashing, counting and signing. Of a JPEG the decoder itself
takes three quarters; counting its levels costs a fifth of that, which a bare loop does without.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

WORKERS, ROUNDS = 2, 5
SETS = (("4,000 PNG, 28 x 28", 4000, 28, "png"), ("500 JPEG, 256 x 256", 500, 256, "jpg"))
CHILD = "--serve"


def make(root: Path, count: int, side: int, form: str) -> None:
    """Images with structure, so that they compress like pictures."""
    random = np.random.Generator(np.random.PCG64(0))
    for number in range(count):
        path = root / "train" / f"class-{number % 10}" / f"{number:05d}.{form}"
        path.parent.mkdir(parents=True, exist_ok=True)
        bands = (3,) if form == "jpg" else ()
        coarse = random.integers(0, 255, (max(4, side // 8), max(4, side // 8), *bands), dtype=np.uint8)
        Image.fromarray(coarse).resize((side, side), Image.Resampling.BILINEAR).save(path)


def ours(root: Path) -> None:
    """The whole analysis, nothing remembered."""
    from deepdiva.data.analyze import analyze

    analyze(root, fresh=True, workers=WORKERS)


def bare(root: Path) -> None:
    """Decoding and nothing else."""
    from torchvision.datasets.folder import default_loader

    files = sorted(root.rglob("*.*"))
    children = []
    for number in range(WORKERS):
        child = os.fork()
        if child == 0:
            for file in files[number::WORKERS]:
                default_loader(str(file))
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def decode(root: Path) -> None:
    """Decoding alone, as a data set and a loader do it."""
    import torch
    from torchvision.datasets import ImageFolder

    for _ in torch.utils.data.DataLoader(ImageFolder(root / "train"), 64, num_workers=WORKERS, collate_fn=len):
        pass


def loop(root: Path) -> None:
    """Mean and deviation as they are usually computed."""
    import torch
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    images = ImageFolder(root / "train", transforms.ToTensor())
    total = squares = torch.zeros(3, dtype=torch.float64)
    pixels = 0
    for batch, _ in torch.utils.data.DataLoader(images, batch_size=64, num_workers=WORKERS):
        total = total + batch.sum((0, 2, 3), dtype=torch.float64)
        squares = squares + (batch.double() ** 2).sum((0, 2, 3))
        pixels += batch.numel() // 3


CONTESTANTS: dict[str, Callable[[Path], None]] = {"ours": ours, "bare": bare, "decode": decode, "loop": loop}


class Contestant:
    """A process that is warm: one for each, since the libraries of one would change how another may fork."""

    def __init__(self, name: str, cache: Path) -> None:
        words = [sys.executable, __file__, CHILD, name]
        environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def seconds(self, root: Path) -> tuple[float, float]:
        """Wall and CPU time of one pass over a data set."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{root}\n")
        self.process.stdin.flush()
        wall, cpu = self.process.stdout.readline().split()
        return float(wall), float(cpu)


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def serve(name: str) -> None:
    """Answers each line, a folder, with the seconds that it took."""
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), cpu_seconds()
        CONTESTANTS[name](Path(line.strip()))
        print(time.perf_counter() - wall, cpu_seconds() - cpu, flush=True)


def main() -> None:
    """Prints medians for each image, and the medians of the ratios to ours."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contestants = {name: Contestant(name, folder / "cache") for name in CONTESTANTS}
        for title, count, side, form in SETS:
            root = folder / form
            make(root, count, side, form)
            rounds = [{key: one.seconds(root) for key, one in contestants.items()} for _ in range(ROUNDS + 1)][1:]
            print(title)
            for key in contestants:
                times = np.array([turn[key] for turn in rounds])
                ratios = np.median(times / np.array([turn["ours"] for turn in rounds]), axis=0)
                wall, cpu = np.median(times, axis=0) / count * 1e6
                print(
                    f"  {key:<8}{wall:7.0f} µs wall {ratios[0]:5.2f} times ours{cpu:9.0f} µs CPU {ratios[1]:5.2f} times"
                )
        for one in contestants.values():
            one.process.communicate()


if __name__ == "__main__":
    serve(sys.argv[2]) if CHILD in sys.argv else main()
