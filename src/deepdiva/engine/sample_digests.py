"""A hash for every sample of one step, as the training got it: augmented, and in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepdiva.engine.fingerprint import state_digest
from deepdiva.engine.loaders import Loader, count_steps, group_batches, names_of

if TYPE_CHECKING:
    from deepdiva.engine.seeding import Streams
    from deepdiva.engine.task import Samples


def sample_digests(
    samples: Samples, *, batch_size: int, accumulate: int, step: int, streams: Streams
) -> dict[str, str]:
    """Names of the samples of an optimizer step, in order, with sixteen digits for the content of each.

    What a sample holds depends on the seed, the epoch and its index alone, so that each can be loaded by itself.

    Args:
        samples: The training split.
        batch_size: Samples a batch.
        accumulate: Batches a step.
        step: The optimizer step, counted from 1 over the whole training.
        streams: The run's streams of randomness.
    """
    import torch

    loader = Loader(
        samples, batch_size=batch_size, streams=streams, device=torch.device("cpu"), workers=0, purpose="train"
    )
    epoch, place = divmod(step - 1, count_steps(len(samples), batch_size, accumulate))
    names, found = names_of(samples), {}
    for indices in group_batches(loader.plan(epoch + 1), accumulate)[place]:
        for index in indices.tolist():
            batch = next(iter(loader.batches(epoch + 1, [np.array([index], dtype=np.int64)])))
            found[str(names[index])] = _digest(batch)
    return found


def _digest(batch: object) -> str:
    """Sixteen digits for a batch; none for one that holds something else than tensors and plain values."""
    try:
        return state_digest({"batch": batch})[:16]
    except TypeError:
        return ""
