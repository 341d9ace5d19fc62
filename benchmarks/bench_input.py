"""What feeding images costs: µs of CPU time an image, ours against torchvision's ImageFolder and DataLoader.

    .venv/bin/python benchmarks/bench_input.py            # about ten minutes
    .venv/bin/python benchmarks/bench_input.py --small    # under a minute

Two sets are made in a temporary folder: small gray PNGs with random shifts, and JPEGs of 256 x 256 cut to 224 x 224 and
flipped. Both sides give normalised float batches of 64. The sides take turns, and of several rounds the least counts;
CPU time is that of this process and its loader processes. The first epoch includes finding the files and, on our side,
the footprint, the statistics and the making of the cache; `later` is every other epoch, `again` the first epoch of a
later run, which finds the cache.

Expected with 8,000 PNGs and 2,000 JPEGs: a first epoch that costs no more (seen: 2.2 and 1.1 times less than without
workers), later ones at least 25 and 4 times less (seen: 100 and 6).
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 64
CLASSES = 10


def make_images(root: Path, *, count: int, side: int, extension: str) -> Path:
    """Smooth random pictures in folders, one for each class."""
    from PIL import Image

    values = np.random.default_rng(0)
    for number in range(count + 2 * CLASSES):
        split = "train" if number < count else "val"
        folder = root / split / f"class-{number % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        shape = (side // 4, side // 4) if extension == "png" else (side // 8, side // 8, 3)
        picture = Image.fromarray(values.integers(0, 256, shape, dtype=np.uint8))
        picture.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{number:05d}.{extension}", quality=90)
    return root


def cpu_seconds() -> float:
    """CPU time of this process and of the processes it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def costs(make: Callable[[], Callable[[int], Iterator[Any]]], count: int, epochs: int) -> tuple[float, float]:
    """µs an image in the first epoch, with everything before it, and the least of the later ones."""
    began = cpu_seconds()
    epoch = make()
    consume(epoch(1))
    first = cpu_seconds() - began
    later = []
    for number in range(2, 2 + epochs):
        began = cpu_seconds()
        consume(epoch(number))
        later.append(cpu_seconds() - began)
    return first / count * 1e6, min(later) / count * 1e6


def consume(batches: Iterator[Any]) -> None:
    """Looks at one number of every batch."""
    for images, _ in batches:
        images[0, 0, 0, 0].item()


def torchvision_side(root: Path, transforms: list[Any], *, gray: bool, workers: int) -> Callable[[int], Iterator[Any]]:
    """ImageFolder and DataLoader as in their tutorials; new loader processes for every epoch, so that they count."""
    from torch.utils.data import DataLoader
    from torchvision import transforms as v1
    from torchvision.datasets import ImageFolder

    mean, std = ([0.5], [0.25]) if gray else ([0.5] * 3, [0.25] * 3)
    before = [v1.Grayscale()] if gray else []
    chain = v1.Compose([*before, *transforms, v1.ToTensor(), v1.Normalize(mean, std)])
    loader = DataLoader(ImageFolder(str(root / "train"), chain), batch_size=BATCH, shuffle=True, num_workers=workers)
    return lambda epoch: iter(loader)


def our_side(root: Path, transforms: list[Any], side: int | None) -> Callable[[int], Iterator[Any]]:
    """What a run does: the folder through the cache, batched transforms, normalisation."""
    import torch

    from deepdiva.data.arrays import Normalisation
    from deepdiva.data.augment import augmented
    from deepdiva.data.image_folder import load_image_folder
    from deepdiva.data.preprocessing import middle
    from deepdiva.engine.loaders import Loader
    from deepdiva.engine.seeding import Streams

    splits = load_image_folder(root)
    samples = augmented(splits.train, transforms)
    device = torch.device("cpu")
    loader = Loader(samples, batch_size=BATCH, streams=Streams(0), device=device, workers=0, purpose="train")
    normalise = Normalisation()

    def epoch(number: int) -> Iterator[Any]:
        for images, targets in loader.batches(number, loader.plan(number)):
            yield normalise(middle(images, side), splits.moments.mean, splits.moments.std), targets

    return epoch


def clear_cache() -> None:
    """Forgets everything that was decoded."""
    import gc
    import shutil

    from deepdiva.data.manifest import cache_directory

    gc.collect()
    shutil.rmtree(cache_directory(), ignore_errors=True)


def compare(
    name: str, root: Path, count: int, *, ours: list[Any], theirs: list[Any], side: int | None, rounds: int
) -> None:
    """One table: every side in every round, least values, ratios to ours."""
    gray = side is None
    makers: dict[str, Callable[[], Callable[[int], Iterator[Any]]]] = {
        "ours": lambda: our_side(root, ours, side),
        "ours, again": lambda: our_side(root, ours, side),
    }
    for workers in (0, 1, 2):
        label = f"torchvision, {workers} workers"
        makers[label] = lambda workers=workers: torchvision_side(root, theirs, gray=gray, workers=workers)  # type: ignore[misc]
    found: dict[str, list[tuple[float, float]]] = {label: [] for label in makers}
    for _ in range(rounds):
        clear_cache()
        for label, make in makers.items():
            found[label].append(costs(make, count, epochs=3 if label.startswith("ours") else 1))
    best = {label: (min(f for f, _ in pairs), min(later for _, later in pairs)) for label, pairs in found.items()}
    first, later = best["ours"]
    print(f"\n{name}: {count} images, CPU µs an image (ratio to ours)")
    print(f"{'':<26}{'first epoch':>20}{'later':>20}")
    for label, (one, other) in best.items():
        print(f"{label:<26}{one:>11.1f} ({one / first:5.2f}){other:>12.1f} ({other / later:5.2f})")


def main() -> None:
    """Both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a tenth of the images, one round")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    share, rounds = (10, 1) if args.small else (1, args.rounds)

    import torch
    from torchvision import transforms as v1

    from deepdiva.data.augment import RandomCrop, RandomFlip, RandomResizedCrop, RandomShift

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = f"{name}/cache"
        count = 8000 // share
        root = make_images(Path(name) / "png", count=count, side=28, extension="png")
        shift = [v1.RandomAffine(0, translate=(2 / 28, 2 / 28))]
        compare("PNG 28, shifts", root, count, ours=[RandomShift(2)], theirs=shift, side=None, rounds=rounds)
        compare("PNG 28, as they are", root, count, ours=[], theirs=[], side=None, rounds=1)
        count = 2000 // share
        root = make_images(Path(name) / "jpeg", count=count, side=256, extension="jpg")
        crop = [v1.RandomCrop(224), v1.RandomHorizontalFlip()]
        compare(
            "JPEG 256, crops and flips",
            root,
            count,
            ours=[RandomCrop(224), RandomFlip()],
            theirs=crop,
            side=224,
            rounds=rounds,
        )
        resized = [v1.RandomResizedCrop(224), v1.RandomHorizontalFlip()]
        ours = [RandomResizedCrop(224), RandomFlip()]
        compare("JPEG 256, resized crops", root, count, ours=ours, theirs=resized, side=224, rounds=1)


if __name__ == "__main__":
    main()
