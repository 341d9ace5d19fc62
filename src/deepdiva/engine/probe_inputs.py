"""Numbers to compute with that are the same everywhere, and the gradients of what is computed from them.

They come from integer hashing in numpy, never from a generator of torch, whose numbers are among the things that
differ between machines. So where an output differs, the operation does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from deepdiva.engine.seeding import SampleStreams, Streams

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Probe = Callable[..., Any]
"""Computes something, called without arguments; what it gives (tensors, or sequences of them) is hashed."""


class Numbers:
    """Tensors of fixed numbers on one device.

    Args:
        device: Where they are put.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        streams = SampleStreams(Streams(0), "numerics", 0, np.arange(512))
        self._pool = streams.uniform(512).reshape(-1)

    def __call__(self, *shape: int, low: float = -1.0, high: float = 1.0, dtype: torch.dtype | None = None) -> Tensor:
        """Numbers from `low` to `high` in a shape; another shape has others."""
        import torch

        count = int(np.prod(shape))
        start = (count * 7 + len(shape) * 131 + sum(shape)) % 65_521
        values = low + (high - low) * np.take(self._pool, range(start, start + count), mode="wrap")
        return torch.from_numpy(values.reshape(shape)).to(dtype or torch.float32).to(self.device)

    def integers(self, *shape: int, below: int) -> Tensor:
        """Whole numbers from 0 to `below` - 1."""
        import torch

        return self(*shape, low=0, high=below, dtype=torch.float64).floor().to(torch.int64)

    def fill(self, module: nn.Module) -> nn.Module:
        """A module, built without initial weights, with fixed ones."""
        import torch

        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(self(*parameter.shape, low=-0.3, high=0.3))
        return module


def with_gradients(function: Callable[..., Tensor], *inputs: Tensor) -> tuple[Any, ...]:
    """What a function gives, and the gradients of a weighted sum of it."""
    import torch

    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    output = function(*leaves)
    weights = torch.linspace(-1, 1, output.numel(), device=output.device).reshape(output.shape)
    return output.detach(), torch.autograd.grad(output, leaves, weights.to(output.dtype))


def short_name(kind: torch.dtype) -> str:
    """`float16` for `torch.float16`."""
    return str(kind).removeprefix("torch.")
