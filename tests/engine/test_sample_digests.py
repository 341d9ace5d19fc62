from __future__ import annotations

import torch

from deepdiva.engine.sample_digests import sample_digests
from deepdiva.engine.seeding import Streams


class Noisy:
    """Samples that draw when they are read."""

    ids = tuple(f"s{number}" for number in range(10))

    def __init__(self, shift: dict[int, float] | None = None) -> None:
        self.shift = shift or {}

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.rand(3) + index + self.shift.get(index, 0.0), index


def digests(samples: Noisy, step: int, *, seed: int = 0, accumulate: int = 1) -> dict[str, str]:
    return sample_digests(samples, batch_size=4, accumulate=accumulate, step=step, streams=Streams(seed))


def test_one_changed_sample_is_the_one_that_differs() -> None:
    first = digests(Noisy(), 1)
    assert len(first) == 4
    name = next(iter(first))
    changed = digests(Noisy({int(name[1:]): 1e-6}), 1)
    assert [other for other in first if first[other] != changed[other]] == [name]
    assert digests(Noisy(), 1) == first


def test_the_step_decides_which_samples_and_the_epoch_what_is_drawn() -> None:
    epoch = [digests(Noisy(), step) for step in (1, 2, 3)]
    assert [len(step) for step in epoch] == [4, 4, 2]
    assert {name for step in epoch for name in step} == set(Noisy.ids)
    later = {name: digest for step in (4, 5, 6) for name, digest in digests(Noisy(), step).items()}
    assert all(later[name] != digest for step in epoch for name, digest in step.items())
    assert list(digests(Noisy(), 1, accumulate=2)) == [*epoch[0], *epoch[1]]


def test_what_cannot_be_hashed_has_no_digest() -> None:
    class Odd(Noisy):
        def batch(self, indices: torch.Tensor) -> object:
            return object()

    assert set(digests(Odd(), 1).values()) == {""}
