"""Listens for operations without a deterministic form, and for those whose bits differ between processors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepdiva.engine.call_sites import CallSites, Site

if TYPE_CHECKING:
    from torch import nn

_WARNING = " does not have a deterministic implementation"
_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"

# MKL's vector functions do not round correctly and follow the processor, whatever its variables say; of the operations
# of the numeric fingerprint these alone differ at the portable level (`docs/explanation/determinism.md`).
_BY_PROCESSOR = frozenset({"sqrt", "acos", "asin", "atan", "_foreach_sqrt", "_cdist_forward", "_euclidean_dist"})

_ALTERNATIVES = {
    "max_unpool": "nn.functional.interpolate, or a transposed convolution",
    "put_": "index_put_ with unique indices, or scatter",
    "histc": "torch.bincount over torch.bucketize",
    "kthvalue": "torch.sort, and the k-th of it",
    "median": "torch.sort, and the middle of it",
    "mode": "torch.unique with counts",
    "grid_sampler": "resample the images when they are loaded, on the CPU",
    "upsample": "interpolate with mode='nearest', or a transposed convolution",
    "adaptive_avg_pool": "a mean over the dimensions, or AvgPool with a fixed window",
    "adaptive_max_pool": "amax over the dimensions, or MaxPool with a fixed window",
    "avg_pool3d": "a strided Conv3d",
    "max_pool3d": "a strided Conv3d",
    "fractional_max_pool": "MaxPool",
    "reflection_pad": "padding with constants",
    "replication_pad": "padding with constants",
    "nll_loss2d": "cross_entropy over scores of shape (N*H*W, C)",
    "ctc_loss": "the CTC loss on the CPU: log_probabilities.cpu()",
    "embedding_bag": "nn.Embedding followed by a reduction",
    "bincount": "a sum over a one-hot coding",
    "scatter": "index_put_ with accumulate=True",
    "cumsum": "cumsum on the CPU",
    "attention": "torch.nn.attention.sdpa_kernel(SDPBackend.MATH)",
    "cublas": "set CUBLAS_WORKSPACE_CONFIG=:4096:8 before torch is loaded, as `deepdiva run` does",
}
_PORTABLE_ALTERNATIVES = {
    "optimizer": "an optimizer with a fused form, such as AdamW with fused: true",
    "sqrt": "x * torch.rsqrt(x) where x is positive, or squares on both sides",
    "pow": "x * torch.rsqrt(x) where x is positive, or squares on both sides",
    "cdist": "sums of squared differences",
}


@dataclass(frozen=True)
class Alert:
    """An operation that stands against a level.

    Args:
        operation: Its name, as torch gives it.
        site: Where it ran.
        alternative: What to use instead, where something is known.
    """

    operation: str
    site: Site
    alternative: str | None

    def __str__(self) -> str:
        places = [f"in {self.site.module}" if self.site.module else "", self.site.source]
        where = ", ".join(place for place in places if place)
        phase = f" ({self.site.phase})" if self.site.phase in ("backward", "optimizer") else ""
        return f"{self.operation}{phase}" + (f" {where}" if where else "")


@dataclass
class Alerts:
    """What was heard, each operation once for every place.

    Args:
        random: Operations that give other bits from one execution to the next.
        by_processor: Operations that give other bits on another processor.
    """

    random: dict[Alert, None]
    by_processor: dict[Alert, None]


@contextmanager
def listening(model: nn.Module, root: Path) -> Iterator[Alerts]:
    """Notes such operations while it lasts; they are computed, not refused.

    Args:
        model: The model that computes; its module paths are shown.
        root: The folder of the project; lines of its files are shown.
    """
    import torch

    strict, only_warn = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    listener = _Listener(CallSites(model, root))
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = listener.hear
            with listener.sites.following(), _mode(listener):
                yield listener.alerts
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=only_warn)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


class _Listener:
    def __init__(self, sites: CallSites) -> None:
        self.sites = sites
        self.alerts = Alerts({}, {})
        self._site: Site | None = None

    def execute(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Runs one operation; what it warns of is said of its place."""
        self._site = site = self.sites.here()
        name = func._schema.name.removeprefix("aten::").rstrip("_")
        if (name in _BY_PROCESSOR or _is_root(name, args)) and _is_computed_by_mkl(args):
            key = "optimizer" if site.phase == "optimizer" else "cdist" if "dist" in name else name
            alert = Alert(f"torch.{name.removeprefix('_foreach_')}", site, _PORTABLE_ALTERNATIVES.get(key))
            self.alerts.by_processor[alert] = None
        try:
            return func(*args, **kwargs)
        finally:
            self._site = None

    def hear(self, message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
        """Takes the place of `warnings.showwarning`: other warnings come again in the training itself."""
        operation, found, _ = str(message).partition(_WARNING)
        if not found and _CUBLAS not in operation:
            return
        operation = operation if found else "cublas"
        known = (text for word, text in _ALTERNATIVES.items() if word in operation.lower())
        self.alerts.random[Alert(operation, self._site or self.sites.here(), next(known, None))] = None


def _mode(listener: _Listener) -> Any:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
        """Hands every operation to the listener."""

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return listener.execute(func, args, kwargs or {})

    return Mode()  # type: ignore[no-untyped-call]


def _is_root(name: str, args: Any) -> bool:
    """Whether it is `x ** 0.5`, which torch computes as a square root."""
    exponent = args[1] if len(args) > 1 else None
    return name == "pow" and isinstance(exponent, float) and exponent == 0.5


def _is_computed_by_mkl(args: Any) -> bool:
    import torch

    first = args[0] if args else None
    first = first[0] if isinstance(first, list | tuple) and first else first
    kinds = (torch.float32, torch.float64)
    return isinstance(first, torch.Tensor) and first.device.type == "cpu" and first.dtype in kinds
