"""The numeric fingerprint: what a few hundred operations give here, bit for bit, kept with every run.

Two runs can only have the same bits where the operations they are made of have. Compared before a repetition starts,
the fingerprints say which operations differ on this machine, with these libraries and these settings.
"""

from __future__ import annotations

import hashlib
import json
import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deepdiva.data.manifest import cache_directory
from deepdiva.engine.probes import probes
from deepdiva.runs import environment
from deepdiva.runs.numerics import SCHEMA, digest_of, parse
from deepdiva.runs.storage import Storage, StorageError, canonical_json

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

UNAVAILABLE = "unavailable"
"""Stands for the hash of an operation that torch refuses here."""

_COUNTS = ("num_logical_cores", "num_physical_cores", "num_sockets", "cpu_name")  # change no bit


@dataclass(frozen=True)
class Fingerprint:
    """What the operations gave, and under which settings.

    Args:
        settings: All that can change an operation's result: torch, processor, threads, switches, variables.
        operations: Sixteen hexadecimal digits for the output of each operation, by its name.
    """

    settings: Mapping[str, Any]
    operations: Mapping[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 over the operations."""
        return digest_of(self.operations)

    def to_text(self) -> str:
        """The JSON document that a run keeps as `environment/numerics.json`."""
        document = {
            "schema": SCHEMA,
            "digest": self.digest,
            "settings": dict(self.settings),
            "operations": dict(self.operations),
        }
        return json.dumps(document, sort_keys=True, indent=1) + "\n"


def fingerprint(device: torch.device | None = None) -> Fingerprint:
    """The fingerprint of this process as it is set up now; measured once, then remembered in the user's cache.

    Args:
        device: Where the operations are computed; the CPU by default. For another device the CPU's come first.
    """
    current = settings(device)
    place = _place(current)
    operations = _remembered(place, current)
    if operations is None:
        operations = measure(device)
        with suppress(StorageError, OSError):  # a cache that cannot be written is no trouble
            storage = Storage()
            storage.make_directory(place.parent)
            storage.write(place, Fingerprint(current, operations).to_text().encode(), durable=False)
    return Fingerprint(current, operations)


def measure(device: torch.device | None = None) -> dict[str, str]:
    """Computes every operation and hashes what it gives: bytes, type and shape.

    The generators, gradients mode and threads of the caller are as before afterwards.

    Args:
        device: As of `fingerprint`.
    """
    import torch

    devices = [torch.device("cpu")]
    if device is not None and device.type != "cpu":
        devices.append(device)
    hashes: dict[str, str] = {}
    with _undisturbed(devices):
        for each in devices:
            prefix = "" if each.type == "cpu" else f"{each.type}: "
            for name, probe in probes(each):
                hashes[prefix + name] = _hash_of(probe)
    return hashes


def settings(device: torch.device | None = None) -> dict[str, Any]:
    """All that can change what an operation gives, in plain values."""
    import torch

    around = environment.describe([])
    backends: Any = torch.backends
    found = {
        "torch": [str(torch.__version__), torch.version.git_version],
        "cpu": around["cpu"],
        "features": {k: v for k, v in torch.cpu.get_capabilities().items() if k not in _COUNTS},
        "capability": backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "mkldnn": backends.mkldnn.enabled,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "variables": around["variables"],
        "libc": around["system"]["libc"],
    }
    if device is not None and device.type != "cpu":
        found["device"] = {"type": device.type, "gpu": around["gpu"]}
    if device is not None and device.type == "cuda":
        found["device"] |= {
            "name": torch.cuda.get_device_name(device),
            "capability": list(torch.cuda.get_device_capability(device)),
            "cuda": torch.version.cuda,
            "cudnn": backends.cudnn.version(),
            "cudnn_deterministic": backends.cudnn.deterministic,
            "cudnn_benchmark": backends.cudnn.benchmark,
            "tf32": [backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32],
        }
    return found


def _place(current: Mapping[str, Any]) -> Path:
    key = hashlib.sha256(canonical_json(current).encode()).hexdigest()[:32]
    return cache_directory() / "numerics" / f"{key}.json"


def _remembered(place: Path, current: Mapping[str, Any]) -> dict[str, str] | None:
    """What was measured under these settings; None where nothing was, or where it is damaged."""
    try:
        document = parse(json.loads(place.read_bytes()))
    except (OSError, ValueError):
        return None
    if canonical_json(document["settings"]) != canonical_json(current):
        return None
    return dict(document["operations"])


def _hash_of(probe: Any) -> str:
    digest = hashlib.sha256()
    try:
        for tensor in _tensors(probe()):
            described = [str(tensor.dtype), list(tensor.shape)]
            digest.update(canonical_json(described).encode())
            digest.update(_bytes_of(tensor))
    except (RuntimeError, NotImplementedError, TypeError):  # refused here: deterministic form, type, or device
        return UNAVAILABLE
    return digest.hexdigest()[:16]


def _tensors(value: Any) -> Iterator[Tensor]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    else:
        for item in value:
            yield from _tensors(item)


def _bytes_of(tensor: Tensor) -> Any:
    import torch

    flat = tensor.detach().cpu().resolve_conj().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else b""


@contextmanager
def _undisturbed(devices: list[torch.device]) -> Iterator[None]:
    """Plain settings inside; afterwards all generators and modes are as before."""
    import torch

    of_python, of_numpy, threads = random.getstate(), np.random.get_state(), torch.get_num_threads()
    cuda = [device for device in devices if device.type == "cuda"]
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(cuda, device_type="cuda"))
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for device in devices:
            stack.enter_context(torch.autocast(device.type, enabled=False))
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
