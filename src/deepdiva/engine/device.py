"""The device a run computes on, and the number format it computes in."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deepdiva.errors import UserError

if TYPE_CHECKING:
    import torch


def find_device(name: str) -> torch.device:
    """The device called `name`; `auto` takes a GPU where there is one.

    Raises:
        UserError: There is no such device here.
    """
    import torch

    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: no such device", "use auto, cpu, cuda, cuda:1 or mps") from None
    if device.type == "cuda":
        return _find_cuda(device, name)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError(f"--device {name}: this machine has no MPS device", "use --device cpu")
    if device.type not in {"cpu", "mps"}:
        raise UserError(f"--device {name}: this kind of device is not supported", "use auto, cpu, cuda or mps")
    return device


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """The context in which a step computes: float32 as it stands, otherwise torch's automatic mixed precision."""
    import torch

    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


def to_device(batch: Any, device: torch.device) -> Any:
    """The same batch (tensors in tuples, lists, mappings; the rest as it is) with its tensors on `device`."""
    import torch

    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {name: to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


def _find_cuda(device: torch.device, name: str) -> torch.device:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise UserError(f"--device {name}: torch finds no CUDA device here", "use --device cpu, or check the driver")
    index = device.index if device.index is not None else torch.cuda.current_device()
    if index >= count:
        raise UserError(f"--device {name}: there are only {count} CUDA devices", f"use cuda:0 … cuda:{count - 1}")
    return torch.device("cuda", index)


def peak_memory(device: torch.device) -> float:
    """Peak memory in MiB: the GPU's, or that of this process."""
    import resource
    import sys

    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
