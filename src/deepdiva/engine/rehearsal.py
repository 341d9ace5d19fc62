"""One step before the first, on a copy: it finds the operations that stand against the level of determinism."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepdiva.engine.alerts import Alert, listening
from deepdiva.engine.call_sites import Site
from deepdiva.engine.loaders import Loader
from deepdiva.errors import Problem, UserErrors

if TYPE_CHECKING:
    import torch
    from torch import nn

    from deepdiva.engine.seeding import Streams
    from deepdiva.engine.task import Samples, Task


@dataclass(frozen=True)
class Rehearsal:
    """What one step showed.

    Args:
        random: Operations without a deterministic form.
        by_processor: Operations whose bits differ between processors.
        seconds: How long it took.
        skipped: Why there was no whole step; None when there was.
    """

    random: tuple[Alert, ...] = ()
    by_processor: tuple[Alert, ...] = ()
    seconds: float = 0.0
    skipped: str | None = None

    @property
    def passed(self) -> bool:
        """Whether a whole step was computed without an operation that gives other bits from time to time."""
        return self.skipped is None and not self.random

    def require(self, level: str) -> None:
        """Refuses a level that the step cannot be computed at.

        Raises:
            UserErrors: Operations without a deterministic form, each with its place and what to use instead.
        """
        if level == "seeded" or not self.random:
            return
        problems = [
            Problem(str(alert), hint=alert.alternative and f"instead: {alert.alternative}") for alert in self.random
        ]
        summary = (
            f"at the level `{level}` this training cannot run: it uses operations without a deterministic form "
            "(`--determinism seeded` allows them; repetitions then differ)"
        )
        raise UserErrors(problems, summary)

    def to_mapping(self) -> dict[str, Any]:
        """The form kept in `run.json`."""
        return {
            "passed": self.passed,
            "operations": [str(alert) for alert in self.random],
            "by_processor": [str(alert) for alert in self.by_processor],
            "seconds": round(self.seconds, 3),
            "skipped": self.skipped,
        }


def rehearse(
    task: Task,
    model: nn.Module,
    samples: Samples,
    *,
    batch_size: int,
    create_optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    context: AbstractContextManager[Any],
    streams: Streams,
    device: torch.device,
) -> Rehearsal:
    """Computes the first step of a training on a copy of its model, and listens.

    The model, its buffers and all generators are as before afterwards. What goes wrong here and has nothing to do
    with determinism is left for the training itself to meet.

    Args:
        task: Gives the loss.
        model: The model; a copy of it computes.
        samples: The training samples, of which the first batch of epoch 1 is read once more.
        batch_size: Samples a batch.
        create_optimizer: Builds the optimizer over the copy.
        context: The autocast context of the training.
        streams: The run's streams of randomness.
        device: Where to compute.
    """
    began = time.perf_counter()
    skipped: str | None = None
    with _undisturbed(device):
        try:
            double = copy.deepcopy(model)
        except Exception as error:  # any class may refuse to be copied, each in its own way
            return Rehearsal(skipped=f"the model cannot be copied: {error}")
        with listening(double, Path.cwd()) as alerts:
            try:
                loader = Loader(
                    samples, batch_size=batch_size, streams=streams, device=device, workers=0, purpose="train"
                )
                batch = next(loader.batches(1, loader.plan(1)[:1]))
                streams.seed_globals("step", 1, 0)
                with context, _eager(double):
                    output = task.step(double.train(), batch)
                output.loss.backward()  # type: ignore[no-untyped-call]
                create_optimizer(double).step()
            except Exception as error:  # the training will meet it, and say it as it should be said
                skipped = f"{type(error).__name__}: {error}"
    by_processor = (*alerts.by_processor, *_alerts_of_compiled(model))
    return Rehearsal(tuple(alerts.random), by_processor, time.perf_counter() - began, skipped)


@contextmanager
def _undisturbed(device: torch.device) -> Iterator[None]:
    import torch

    of_python, of_numpy = random.getstate(), np.random.get_state()
    on_cuda = device.type == "cuda"
    try:
        with torch.random.fork_rng([device] if on_cuda else [], device_type="cuda"):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        if on_cuda:
            torch.cuda.reset_peak_memory_stats(device)


@contextmanager
def _eager(model: nn.Module) -> Iterator[None]:
    """Compiled modules run as they were written: one step is not worth compiling."""
    import torch

    with ExitStack() as stack:
        if _compiled_modules(model):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def _compiled_modules(model: nn.Module) -> list[str]:
    """The paths of the modules that are compiled; that of the model itself is empty."""
    return [
        name
        for name, module in model.named_modules()
        if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
    ]


def _alerts_of_compiled(model: nn.Module) -> list[Alert]:
    """Compilers use what they find: they write other code for another processor, whatever the level's variables say."""
    return [
        Alert("torch.compile", Site("forward", name, ""), "the model as it was written")
        for name in _compiled_modules(model)
    ]
