"""What a tensor holds, as a short text, and where it came from: a name, an operation, or from outside."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from deepdiva.runs.operations import DATA

if TYPE_CHECKING:
    from torch import Tensor

_DIGITS = 16  # of SHA-256: 64 bits, far more than the few thousand tensors of a step need


def text_of(tensor: Tensor, *, content: bool = True) -> str:
    """A tensor as text: device, type, shape, strides where they are not the usual ones, and the hash of its bytes.

    Args:
        tensor: Any tensor; one in a sparse layout is hashed as a dense one.
        content: Whether to hash the bytes at all.
    """
    text = f"{tensor.device.type} {str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
    strided = str(tensor.layout) == "torch.strided"
    if not strided:
        text += f" {str(tensor.layout).removeprefix('torch.')}"
    elif not tensor.is_contiguous():
        text += f" strides {list(tensor.stride())}"
    return f"{text} {_hash(tensor if strided else tensor.to_dense())}" if content else text


def hash_bytes(data: Any) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()[:_DIGITS]


def _hash(tensor: Tensor) -> str:
    import torch

    if tensor.device.type == "meta" or tensor.is_quantized or tensor.dtype.itemsize == 0:
        return "unread"
    tensor = tensor.detach()
    for axis, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if stride == 0 and size > 1:  # an expanded axis: the same bytes again, which would only cost memory
            tensor = tensor.narrow(axis, 0, 1)
    if not (size := tensor.numel()):
        return hash_bytes(b"")
    tensor = tensor.resolve_conj().resolve_neg().cpu().contiguous()
    flat = tensor.as_strided((size,), (1,))  # also where a single element has a stride of 0
    return hash_bytes(flat.view(torch.uint8).numpy().data)


class State(Enum):
    """What the bytes of a piece of memory mean."""

    WRITTEN = "written"
    BLANK = "blank"  # allocated, and not yet written throughout: the rest is as it was found
    SCRATCH = "scratch"  # notes of an operation for its own derivative, with gaps that nothing ever writes


@dataclass(frozen=True)
class _Memory:
    """What is known of a piece of memory: who wrote it last, and what its bytes mean."""

    writer: str
    state: State
    held: Any  # a weak reference: the memory is freed as ever, but its number is given to no other


class Origins:
    """Remembers for every piece of memory that tensors live in who wrote it last."""

    def __init__(self) -> None:
        self._memories: dict[int, _Memory] = {}

    def of(self, tensor: Tensor) -> str:
        """Where the content of a tensor came from; `data` where nothing is known of it."""
        memory = self._memory(tensor)
        if memory is None:
            return DATA
        return f"uninitialised memory of {memory.writer}" if memory.state is State.BLANK else memory.writer

    def state(self, tensor: Tensor) -> State:
        """What the bytes of a tensor mean."""
        memory = self._memory(tensor)
        return State.WRITTEN if memory is None else memory.state

    def is_known(self, tensor: Tensor) -> bool:
        """Whether the memory has a writer or a name."""
        return self._memory(tensor) is not None

    def key(self, tensor: Tensor) -> int | None:
        """A number for the memory that a tensor lives in, the same for all its views; None where it has none."""
        try:
            key: int = tensor.untyped_storage()._cdata
        except (NotImplementedError, RuntimeError):  # sparse layouts and tensors without memory
            return None
        return key

    def set(self, tensor: Tensor, writer: str, state: State = State.WRITTEN) -> None:
        """Says who wrote a tensor, and how; memory that was allocated stays blank until all of it is written."""
        from torch.multiprocessing.reductions import StorageWeakRef

        key = self.key(tensor)
        if key is None:
            return
        before = self._memories.get(key)
        was_blank = before is not None and before.state is State.BLANK
        if was_blank and state is State.WRITTEN and not _fills_memory(tensor):
            return
        held = before.held if before is not None else StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]
        self._memories[key] = _Memory(writer, state, held)

    def _memory(self, tensor: Tensor) -> _Memory | None:
        key = self.key(tensor)
        return None if key is None else self._memories.get(key)


def _fills_memory(tensor: Tensor) -> bool:
    return tensor.numel() * tensor.element_size() >= tensor.untyped_storage().nbytes()
