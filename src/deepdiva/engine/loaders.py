"""Batches in an order and with a randomness that depend on (seed, epoch, index) alone, however they are loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from deepdiva.engine.device import to_device
from deepdiva.engine.interrupt import leave_to_parent
from deepdiva.engine.seeding import SampleStreams, Streams, permutation
from deepdiva.errors import UserError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from deepdiva.engine.task import Samples

Plan = list["NDArray[np.int64]"]
"""The indices of every batch of one epoch, in order."""


def plan_epoch(length: int, batch_size: int, *, order_key: int | None) -> Plan:
    """The batches of one epoch over `length` samples.

    Shuffled by `order_key`; with None, in order. A shuffled epoch never ends on a batch of one, which batch
    normalisation cannot take: a single sample left over joins the batch before it. Batches of one stay as they are
    where they were asked for.
    """
    order = np.arange(length, dtype=np.int64) if order_key is None else permutation(order_key, length)
    starts = list(range(0, length, batch_size))
    if order_key is not None and 1 < batch_size < length and length - starts[-1] == 1:
        starts.pop()
    return [order[start:end] for start, end in pairwise([*starts, length])]


def group_batches(plan: Plan, accumulate: int) -> list[Plan]:
    """The batches of each optimizer step: `accumulate` of them, fewer in the last."""
    return [plan[start : start + accumulate] for start in range(0, len(plan), accumulate)]


def count_steps(length: int, batch_size: int, accumulate: int) -> int:
    """Optimizer steps in one epoch of training."""
    return len(group_batches(plan_epoch(length, batch_size, order_key=0), accumulate))


def names_of(samples: Samples) -> Sequence[str]:
    """One name for every sample: its `ids` where the data set has them, its place otherwise."""
    ids = getattr(samples, "ids", None)
    return [str(index) for index in range(len(samples))] if ids is None else cast("Sequence[str]", ids)


class Loader:
    """Loads one split.

    Samples that come as `samples.batch(indices)` are fetched whole; in this process, unless `samples.slow` says that
    it takes long. So are those that come as `samples.draw(indices, streams)`, which get one stream of randomness a
    sample (`SampleStreams`). Otherwise every sample is fetched on its own, here or in `workers` processes, each time
    after the global generators were set to that sample's own stream: random transforms, however they draw, give the
    same pixels in either place.

    Args:
        samples: A map-style data set.
        batch_size: Samples a batch.
        streams: The run's streams of randomness.
        device: Where the batches go.
        workers: Loader processes; 0 loads in this one. It never changes a batch.
        purpose: The name of the streams (`train`, `val`, `test`); only `train` is shuffled.
        persistent: Whether the loader processes live on between epochs. It never changes a batch either.
    """

    def __init__(
        self,
        samples: Samples,
        *,
        batch_size: int,
        streams: Streams,
        device: torch.device,
        workers: int,
        purpose: str,
        persistent: bool = True,
    ) -> None:
        self.samples = samples
        self.purpose = purpose
        self._batch_size = batch_size
        self._streams = streams
        self._device = device
        self._requests = _Requests()
        self._keyed = _KeyedSamples(samples, streams.seed, purpose)
        # From memory and as they are: quicker than a process could be asked for them.
        self._at_hand = self._keyed.gives_batches and not self._keyed.draws and not getattr(samples, "slow", False)
        self._processes: Any = None
        if workers > 0 and not self._at_hand:
            self._processes = self._start_processes(workers, persistent=persistent)

    def plan(self, epoch: int) -> Plan:
        """The indices of every batch of `epoch`."""
        shuffled = self.purpose == "train"
        order_key = self._streams.key("order", epoch) if shuffled else None
        return plan_epoch(len(self.samples), self._batch_size, order_key=order_key)

    def batches(self, epoch: int, plan: Plan) -> Iterator[Any]:
        """The batches of `plan`, on the device; a plan cut at its front continues an epoch at that place."""
        if self._at_hand:
            host: Iterator[Any] = self._fetch_batches(plan)
        elif self._processes is not None:
            self._requests.set(epoch, plan)
            host = map(_sound, self._processes)
        else:
            host = self._fetch_samples(epoch, plan)
        return host if self._device.type == "cpu" else (to_device(batch, self._device) for batch in host)

    def _fetch_batches(self, plan: Plan) -> Iterator[Any]:
        import torch

        for indices in plan:
            yield self.samples.batch(torch.from_numpy(indices))  # type: ignore[attr-defined]

    def _fetch_samples(self, epoch: int, plan: Plan) -> Iterator[Any]:
        import torch

        threads = torch.get_num_threads()
        for indices in plan:
            # Worker processes compute on one thread; sums in a transform must be split the same way here.
            torch.set_num_threads(1)
            try:
                batch = _collate(self._keyed.fetch([(epoch, index) for index in indices.tolist()]))
            finally:
                torch.set_num_threads(threads)
            yield batch

    def _start_processes(self, workers: int, *, persistent: bool) -> Any:
        import torch
        from torch.utils.data import DataLoader

        # A private generator: the DataLoader would otherwise draw its base seed from the global one.
        return DataLoader(
            cast("Any", self._keyed),
            batch_sampler=self._requests,
            collate_fn=_collate,
            num_workers=workers,
            persistent_workers=persistent,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),
            worker_init_fn=_leave_signals_to_the_loop,
        )


def _leave_signals_to_the_loop(worker: int) -> None:
    leave_to_parent()


class _Whole(NamedTuple):
    """A batch that needs no collating."""

    batch: Any


class _Failed:
    """A user's mistake, met in a worker process: sent as a value, since a DataLoader wraps errors in a traceback."""

    def __init__(self, error: UserError) -> None:
        self.error = error


def _sound(batch: Any) -> Any:
    """The batch, unless what was sent in its place is an error."""
    if isinstance(batch, _Failed):
        raise batch.error
    return batch


def _collate(fetched: _Whole | _Failed | list[Any]) -> Any:
    from torch.utils.data import default_collate

    if isinstance(fetched, _Failed):
        return fetched
    return fetched.batch if isinstance(fetched, _Whole) else default_collate(fetched)


class _Requests:
    """The batch sampler of the worker processes: which samples of which epoch come next."""

    def __init__(self) -> None:
        self._epoch = 0
        self._plan: Plan = []

    def set(self, epoch: int, plan: Plan) -> None:
        self._epoch, self._plan = epoch, plan

    def __len__(self) -> int:
        return len(self._plan)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for indices in self._plan:
            yield [(self._epoch, index) for index in indices.tolist()]


class _KeyedSamples:
    """A data set whose keys are (epoch, index), so that a sample's stream of randomness travels with its name."""

    def __init__(self, samples: Samples, seed: int, purpose: str) -> None:
        self._samples: Any = samples
        self._seed = seed
        self._purpose = purpose
        self._streams: Streams | None = None
        self.draws = callable(getattr(samples, "draw", None))
        self.gives_batches = self.draws or callable(getattr(samples, "batch", None))

    def __len__(self) -> int:
        return len(self._samples)

    def __getstate__(self) -> dict[str, Any]:
        # A generator cannot be sent to a spawned worker: each process makes its own.
        return {**self.__dict__, "_streams": None}

    def __getitems__(self, keys: list[tuple[int, int]]) -> _Whole | _Failed | list[Any]:
        """What a worker process sends."""
        try:
            return self.fetch(keys)
        except UserError as error:
            return _Failed(error)

    def fetch(self, keys: list[tuple[int, int]]) -> _Whole | list[Any]:
        """The samples of one batch."""
        if not self.gives_batches:
            return [self[key] for key in keys]
        import torch

        epoch, indices = keys[0][0], np.array([index for _, index in keys], dtype=np.int64)
        wanted = torch.from_numpy(indices)
        if not self.draws:
            return _Whole(self._samples.batch(wanted))
        return _Whole(self._samples.draw(wanted, SampleStreams(self._own_streams(), self._purpose, epoch, indices)))

    def __getitem__(self, key: tuple[int, int]) -> Any:
        self._own_streams().seed_globals(f"sample:{self._purpose}", *key)
        return self._samples[key[1]]

    def _own_streams(self) -> Streams:
        if self._streams is None:
            self._streams = Streams(self._seed)
        return self._streams
