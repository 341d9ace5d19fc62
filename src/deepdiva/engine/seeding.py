"""Streams of randomness, each a function of (seed, purpose, position) and none shared.

Nothing in a run draws from a generator whose state depends on what was drawn before. The order of the samples, the
augmentation of sample *i* in epoch *e* and the dropout of step *t* each have a key of their own, so that the number of
loader workers, a figure, a validation or a resume cannot move any of them.
"""

from __future__ import annotations

import hashlib
import random
import secrets
import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def draw_seed() -> int:
    """A fresh seed from the operating system, below 2**32 so that it is easy to type again."""
    return secrets.randbelow(2**32)


def key(seed: int, purpose: str, *position: int) -> int:
    """The 64-bit key of a stream: eight bytes of BLAKE2b over the seed, the purpose and the position.

    Args:
        seed: The run's seed.
        purpose: What is drawn, in at most 16 bytes.
        position: Where in the run: epoch and index, or step.
    """
    words = struct.pack(f"<Q{len(position)}q", seed, *position)
    return int.from_bytes(hashlib.blake2b(words, digest_size=8, person=purpose.encode()).digest(), "little")


def permutation(stream: int, length: int) -> NDArray[np.int64]:
    """A permutation of `range(length)`, shape (length,), that depends on the stream's key alone.

    Every index is hashed (the finaliser of SplitMix64, Steele et al., OOPSLA 2014) and the hashes are sorted: exact
    on every platform, and by no library whose generators may change between versions.
    """
    with np.errstate(over="ignore"):
        hashes = np.arange(1, length + 1, dtype=np.uint64) * _GOLDEN + np.uint64(stream)
        hashes = (hashes ^ (hashes >> np.uint64(30))) * _MIX[0]
        hashes = (hashes ^ (hashes >> np.uint64(27))) * _MIX[1]
    return np.argsort(hashes ^ (hashes >> np.uint64(31)), kind="stable").astype(np.int64)


class Streams:
    """The streams of one run.

    Args:
        seed: The run's seed, 0 … 2**63 - 1.
        device: The device whose generator is seeded beside the CPU's; None for the CPU alone (loader workers).
    """

    def __init__(self, seed: int, device: torch.device | None = None) -> None:
        import torch

        self.seed = seed
        self._torch = [torch.default_generator]
        if device is not None and device.type == "cuda":
            index = device.index if device.index is not None else torch.cuda.current_device()
            torch.cuda.init()  # type: ignore[no-untyped-call]
            self._torch.append(torch.cuda.default_generators[index])
        elif device is not None and device.type == "mps":
            self._torch.append(torch.mps._get_default_mps_generator())
        # The legacy global generator of numpy: `np.random.seed` reaches the same function through two more layers.
        self._numpy = np.random.mtrand._rand

    def key(self, purpose: str, *position: int) -> int:
        """The key of one stream of this run."""
        return key(self.seed, purpose, *position)

    def seed_globals(self, purpose: str, *position: int) -> None:
        """Sets the global generators of torch, numpy and Python to the start of one stream (about 8 µs).

        torch and numpy run the same generator from 32 bits of seed: one and the same half of the key would give both
        the same numbers.
        """
        stream = key(self.seed, purpose, *position)
        for generator in self._torch:
            generator.manual_seed(stream)
        self._numpy.seed(stream >> 32)
        random.seed(stream)
