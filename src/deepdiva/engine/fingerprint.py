"""Digests of a training: a cheap one for every step, SHA-256 for every epoch and checkpoint.

Equal losses are not equal bits: with another number of threads a loss agrees to nine digits while the weights differ.
So the digests are of states. The cheap one is an XOR of all bits, which a swap of two weights leaves as it is; the
SHA-256 of the next epoch sees it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deepdiva.runs.storage import canonical_json

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn


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
    """The cheap digest of a model's parameters: an XOR of the bits of each, computed where they are.

    Args:
        model: The model in training; its parameters may change in value, not in number or place.
    """

    def __init__(self, model: nn.Module) -> None:
        parameters = [parameter.detach() for parameter in model.parameters() if parameter.numel()]
        on_cpu = all(parameter.device.type == "cpu" and parameter.is_contiguous() for parameter in parameters)
        # numpy reads the same memory, and its reduction costs a fraction of a call of torch's `hash_tensor`,
        # which takes no complex tensors.
        self._words = [_words(parameter) for parameter in parameters] if on_cpu else None
        self._parameters = [_as_real(parameter) for parameter in parameters]

    def __call__(self) -> Sequence[int] | Tensor:
        """One number for each parameter as it is now: numbers on a CPU, elsewhere a tensor that is not yet read."""
        import numpy as np
        import torch

        if self._words is not None:
            return [np.bitwise_xor.reduce(words) for words in self._words]
        return torch.stack([torch.hash_tensor(parameter) for parameter in self._parameters])


def step_digest(numbers: Sequence[int]) -> str:
    """Sixteen hexadecimal digits for what a `StepDigest` gave."""
    return hashlib.blake2b(struct.pack(f"<{len(numbers)}Q", *numbers), digest_size=8).hexdigest()


def _words(parameter: Tensor) -> NDArray[np.unsignedinteger[Any]]:
    """The memory of a tensor as the longest words that fit, shape (k,)."""
    import torch

    data = parameter.view(-1).view(torch.uint8).numpy()
    width = next(width for width in (8, 4, 2, 1) if data.nbytes % width == 0)
    return data.view(f"u{width}")


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
