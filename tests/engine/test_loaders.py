"""Batches are a function of (seed, epoch, index): the processes that load them, and when, never show."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepdiva.engine.loaders import Loader, count_steps, group_batches, names_of, plan_epoch
from deepdiva.engine.seeding import Streams
from deepdiva.errors import Problem, UserError, UserErrors

sizes = st.integers(0, 60)
batch_sizes = st.integers(1, 20)
order_keys = st.none() | st.integers(0, 2**64 - 1)
Make = Callable[..., Loader]


@given(sizes, batch_sizes, order_keys)
def test_a_plan_holds_every_sample_once(length: int, batch_size: int, order_key: int | None):
    plan = plan_epoch(length, batch_size, order_key=order_key)
    assert sorted(index for batch in plan for index in batch.tolist()) == list(range(length))
    assert all(len(batch) <= batch_size + 1 for batch in plan)


@given(sizes, batch_sizes, st.integers(0, 2**64 - 1))
def test_training_never_ends_on_a_batch_of_one(length: int, batch_size: int, order_key: int):
    plan = plan_epoch(length, batch_size, order_key=order_key)
    if batch_size == 1:
        assert [len(batch) for batch in plan] == [1] * length
    elif length > 1:
        assert min(len(batch) for batch in plan) > 1


@given(sizes, batch_sizes)
def test_evaluation_goes_in_order_and_keeps_its_batch_size(length: int, batch_size: int):
    plan = plan_epoch(length, batch_size, order_key=None)
    assert [index for batch in plan for index in batch.tolist()] == list(range(length))
    assert all(len(batch) == batch_size for batch in plan[:-1])


@given(sizes, batch_sizes, st.integers(1, 7))
def test_steps_are_counted_as_they_are_made(length: int, batch_size: int, accumulate: int):
    plan = plan_epoch(length, batch_size, order_key=1)
    groups = group_batches(plan, accumulate)
    assert [batch.tolist() for group in groups for batch in group] == [batch.tolist() for batch in plan]
    assert all(len(group) == accumulate for group in groups[:-1])
    assert count_steps(length, batch_size, accumulate) == len(groups)


def test_samples_without_names_are_called_by_their_places(blobs: type):
    assert names_of([5, 6, 7]) == ["0", "1", "2"]
    assert names_of(blobs(2, seed=0)) == ["blob-000", "blob-001"]


@pytest.fixture
def make(blobs: type) -> Make:
    def loader(*, workers: int = 0, seed: int = 0, purpose: str = "train", **more: Any) -> Loader:
        samples = more.pop("samples", None) or blobs(17, seed=0, trembling=True)
        device = torch.device("cpu")
        return Loader(
            samples, batch_size=4, streams=Streams(seed), device=device, workers=workers, purpose=purpose, **more
        )

    return loader


def everything(loader: Loader, epochs: tuple[int, ...] = (1, 2)) -> torch.Tensor:
    """All inputs of some epochs, in the order in which they came."""
    batches = (batch for epoch in epochs for batch in loader.batches(epoch, loader.plan(epoch)))
    return torch.cat([inputs for inputs, _ in batches])


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker")
@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_never_change_a_bit(make: Make, workers: int, persistent: bool):
    assert torch.equal(everything(make(workers=workers, persistent=persistent)), everything(make()))


def test_draws_outside_never_change_a_bit(make: Make):
    loader = make()
    expected = everything(make())
    found = []
    for epoch in (1, 2):
        for inputs, _ in loader.batches(epoch, loader.plan(epoch)):
            torch.manual_seed(0)
            np.random.seed(0)
            random.seed(0)
            found.append(inputs)
    assert torch.equal(torch.cat(found), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_goes_on_in_the_middle_of_an_epoch(make: Make, workers: int):
    whole = make()
    expected = [inputs for inputs, _ in whole.batches(2, whole.plan(2))][2:]
    loader = make(workers=workers)
    found = [inputs for inputs, _ in loader.batches(2, loader.plan(2)[2:])]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_an_epoch_left_in_the_middle_does_not_disturb_the_next(make: Make):
    loader = make(workers=2)
    next(iter(loader.batches(1, loader.plan(1))))
    assert torch.equal(everything(loader, (2,)), everything(make(), (2,)))


def test_loading_leaves_the_global_generators_to_the_streams(make: Make):
    # The DataLoader draws a seed for its workers from the global generator, unless it is given one of its own.
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    everything(make(workers=1))
    assert torch.equal(torch.rand(3), expected)


def test_epochs_and_seeds_differ(make: Make):
    assert not torch.equal(everything(make(), (1,)), everything(make(), (2,)))
    assert not torch.equal(everything(make()), everything(make(seed=1)))


def test_only_training_is_shuffled(make: Make):
    assert [index for batch in make(purpose="val").plan(3) for index in batch.tolist()] == list(range(17))
    assert make(purpose="val").plan(0)[0].tolist() == make(purpose="val").plan(1)[0].tolist()
    assert [batch.tolist() for batch in make().plan(1)] != [batch.tolist() for batch in make().plan(2)]


def test_a_split_that_gives_whole_batches_is_asked_for_them(make: Make, blobs: type):
    class Whole(blobs):  # type: ignore[misc]
        def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.inputs[indices], self.targets[indices]

        def __getitem__(self, index: int) -> None:
            raise AssertionError("a single sample was asked for")

    expected = everything(make(samples=blobs(17, seed=0)))
    assert torch.equal(everything(make(samples=Whole(17, seed=0), workers=2)), expected)


def test_threads_are_as_before_after_a_batch(make: Make):
    torch.set_num_threads(2)
    everything(make())
    assert torch.get_num_threads() == 2


def test_samples_can_be_sent_to_a_process_that_was_not_forked(make: Make):
    keyed = make(workers=1)._processes.dataset
    keyed[(1, 0)]  # makes a generator, which could not be sent
    again = pickle.loads(pickle.dumps(keyed.__getstate__() | {"_samples": None}))
    assert again["_streams"] is None
    assert again["_seed"] == 0


def test_a_sample_that_fails_is_heard_of(make: Make, blobs: type):
    class Broken(blobs):  # type: ignore[misc]
        def __getitem__(self, index: int) -> None:
            raise LookupError(f"sample {index} is gone")

    for workers in (0, 1):
        with pytest.raises(LookupError, match="is gone"):
            everything(make(samples=Broken(17, seed=0), workers=workers))


MISTAKES = {
    "one": UserError("sample 3 is gone", "look for it"),
    "several": UserErrors([Problem("is gone", "3.png"), Problem("is gray", "4.png", "save it in colours")], "2 files"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_of_the_user_reads_the_same_from_a_worker_process(make: Make, blobs: type, name: str):
    class Broken(blobs):  # type: ignore[misc]
        def __getitem__(self, index: int) -> None:
            raise MISTAKES[name]

    for workers in (0, 1):
        with pytest.raises(type(MISTAKES[name])) as caught:
            everything(make(samples=Broken(17, seed=0), workers=workers))
        assert (str(caught.value), caught.value.hint) == (str(MISTAKES[name]), MISTAKES[name].hint)
