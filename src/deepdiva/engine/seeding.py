"""Streams of randomness, each a function of (seed, purpose, position) and none shared.

Nothing in a run draws from a generator whose state depends on what was drawn before. The order of the samples, the
augmentation of sample *i* in epoch *e* and the dropout of step *t* each have a key of their own, so that the number of
loader workers, a figure, a validation or a resume cannot move any of them.
"""

from __future__ import annotations

import copy
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
    return _finish(_begin(seed, purpose), position)


def _begin(seed: int, purpose: str) -> hashlib.blake2b:
    return hashlib.blake2b(struct.pack("<Q", seed), digest_size=8, person=purpose.encode())


def _finish(begun: hashlib.blake2b, position: tuple[int, ...]) -> int:
    begun.update(struct.pack(f"<{len(position)}q", *position))
    return int.from_bytes(begun.digest(), "little")


def permutation(stream: int, length: int) -> NDArray[np.int64]:
    """A permutation of `range(length)`, shape (length,), that depends on the stream's key alone.

    Every index is hashed (the finaliser of SplitMix64, Steele et al., OOPSLA 2014) and the hashes are sorted: exact
    on every platform, and by no library whose generators may change between versions.
    """
    return np.argsort(words(stream, length), kind="stable").astype(np.int64)


def words(stream: int, length: int, *, start: int = 0) -> NDArray[np.uint64]:
    """The 64-bit words `start` … `start + length - 1` of a stream, shape (length,): its key's alone, as above."""
    return _mixed(_counted(np.arange(start + 1, start + length + 1)) + np.uint64(stream))


class Streams:
    """The streams of one run.

    Args:
        seed: The run's seed, 0 … 2**63 - 1.
        device: The device whose generator is seeded beside the CPU's; None for the CPU alone (loader workers).
    """

    def __init__(self, seed: int, device: torch.device | None = None) -> None:
        import torch

        self.seed = seed
        self._begun: dict[str, hashlib.blake2b] = {}
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
        """The key of one stream of this run: as the function `key`, which begins anew each time."""
        begun = self._begun.get(purpose)
        if begun is None:
            begun = self._begun[purpose] = _begin(self.seed, purpose)
        return _finish(begun.copy(), position)

    def seed_globals(self, purpose: str, *position: int) -> None:
        """Sets the global generators of torch, numpy and Python to the start of one stream (about 8 µs).

        torch and numpy run the same generator from 32 bits of seed: one and the same half of the key would give both
        the same numbers.
        """
        stream = self.key(purpose, *position)
        for generator in self._torch:
            generator.manual_seed(stream)
        self._numpy.seed(stream >> 32)
        random.seed(stream)


class SampleStreams:
    """The streams of the samples of one batch, one a sample, all drawn from at once.

    What sample `index` gets in `epoch` is a function of (seed, purpose, epoch, index, component, how many numbers were
    drawn before): not of the samples around it, of the process, or of where a resume began.

    Args:
        streams: The run's streams.
        purpose: The split: `train`.
        epoch: The epoch.
        indices: Which samples the batch holds, shape (B,).
    """

    def __init__(self, streams: Streams, purpose: str, epoch: int, indices: NDArray[np.int64]) -> None:
        self._streams = streams
        self._position = (f"sample:{purpose}", epoch)
        self._indices = indices
        self._drawn = 0
        self._states = _mixed(_counted(indices + 1) + np.uint64(streams.key(f"draw:{purpose}", epoch)))

    def __len__(self) -> int:
        return len(self._indices)

    def uniform(self, count: int) -> NDArray[np.float64]:
        """The next `count` numbers of every sample, in [0, 1), shape (B, count)."""
        counters = np.arange(self._drawn + 1, self._drawn + count + 1)
        self._drawn += count
        bits = _mixed(self._states[:, np.newaxis] + _counted(counters))
        return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def component(self, place: int) -> SampleStreams:
        """Streams of their own for the transform at `place`: whatever those before it draw does not move them."""
        return self._with(self._indices, _mixed(self._states ^ _mixed(_counted(np.array([place + 1])))))

    def part(self, places: NDArray[np.integer]) -> SampleStreams:
        """The streams of some samples of the batch, where they stand."""
        return self._with(self._indices[places], self._states[places], drawn=self._drawn)

    def seed_globals(self, place: int) -> None:
        """Sets the global generators to the stream of the sample at `place`, for transforms that draw from them."""
        purpose, epoch = self._position
        self._streams.seed_globals(purpose, epoch, int(self._indices[place]))

    def _with(self, indices: NDArray[np.int64], states: NDArray[np.uint64], *, drawn: int = 0) -> SampleStreams:
        other = copy.copy(self)
        other._indices, other._states, other._drawn = indices, states, drawn
        return other


def _counted(counters: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Numbers far apart for counters next to each other: the sequence that SplitMix64 steps through."""
    return counters.astype(np.uint64) * _GOLDEN


def _mixed(states: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64: a bijection of 64 bits in which every bit of the input moves half of the output."""
    hashes = (states ^ (states >> np.uint64(30))) * _MIX[0]
    hashes = (hashes ^ (hashes >> np.uint64(27))) * _MIX[1]
    return hashes ^ (hashes >> np.uint64(31))
