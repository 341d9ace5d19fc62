"""Digests of a training: a cheap one for every step, SHA-256 for every epoch and checkpoint.

Equal losses are not equal bits: with another number of threads a loss agrees to nine digits while the weights differ.
So the digests are of states. The cheap one is an XOR of all bits, which a swap of two weights leaves as it is; the
SHA-256 of the next epoch sees it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from deepdiva.runs.storage import canonical_json

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

# Below this number of parameters one copy into a flat buffer is cheaper than a call for every tensor.
_FLAT_LIMIT = 65_536


def state_digest(state: Mapping[str, Any]) -> str:
    """SHA-256 over a state dictionary: names, types, shapes and bytes of its tensors, canonical JSON of the rest."""
    digest = hashlib.sha256()
    for name, value in _leaves("", state):
        digest.update(_describe(name, value))
        digest.update(_bytes(value))
    return digest.hexdigest()


def batch_digest(batches: list[NDArray[np.int64]]) -> str:
    """Sixteen hexadecimal digits for the samples of one step and their order (BLAKE2b over their indices)."""
    digest = hashlib.blake2b(digest_size=8)
    for indices in batches:
        digest.update(indices.tobytes())
    return digest.hexdigest()


def loss_bits(loss: float) -> str:
    """The loss as the sixteen hexadecimal digits of its bits, so that equal prints are not taken for equal bits."""
    return struct.pack(">d", loss).hex()


class StepDigest:
    """The cheap digest of a model's parameters: an XOR of their bits, computed where they are.

    Args:
        model: The model in training; its parameters may change in value, not in number.
    """

    def __init__(self, model: nn.Module) -> None:
        import torch

        # `hash_tensor` takes neither empty nor complex tensors.
        self._parameters = [_as_real(parameter.detach()) for parameter in model.parameters() if parameter.numel()]
        self._flat: Tensor | None = None
        kinds = {(parameter.dtype, parameter.device) for parameter in self._parameters}
        total = sum(parameter.numel() for parameter in self._parameters)
        if len(kinds) == 1 and 0 < total <= _FLAT_LIMIT and all(p.is_contiguous() for p in self._parameters):
            dtype, device = kinds.pop()
            self._flat = torch.empty(total, dtype=dtype, device=device)
            self._parameters = [parameter.view(-1) for parameter in self._parameters]

    def __call__(self) -> Tensor:
        """A new tensor of shape (k,) and type uint64 for the parameters as they are now, k = 1 for small models."""
        import torch

        if self._flat is not None:
            return torch.hash_tensor(torch.cat(self._parameters, out=self._flat)).view(1)
        if not self._parameters:
            return torch.zeros(1, dtype=torch.uint64)
        return torch.stack([torch.hash_tensor(parameter) for parameter in self._parameters])


def _as_real(tensor: Tensor) -> Tensor:
    import torch

    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _leaves(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name in sorted(value, key=str):
            yield from _leaves(f"{prefix}/{name}", value[name])
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _leaves(f"{prefix}/{place}", item)
    else:
        yield prefix, value


def _describe(name: str, value: Any) -> bytes:
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    return canonical_json([name, str(dtype), list(shape) if shape is not None else None]).encode()


def _bytes(value: Any) -> Any:
    import torch

    if not isinstance(value, torch.Tensor):
        return canonical_json(value).encode()
    flat: torch.Tensor = value.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else b""
