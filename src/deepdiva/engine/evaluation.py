"""One pass over a split without learning: outputs pooled over all samples, never means of batch means."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from deepdiva.engine.loaders import names_of
from deepdiva.engine.task import Evaluation
from deepdiva.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import torch
    from torch import nn

    from deepdiva.engine.loaders import Loader
    from deepdiva.engine.seeding import Streams
    from deepdiva.engine.task import DataSplits, StepOutput, Task


def evaluate(
    task: Task,
    model: nn.Module,
    loader: Loader,
    data: DataSplits,
    *,
    epoch: int,
    streams: Streams,
    context: contextlib.AbstractContextManager[Any],
    device: torch.device,
    check: Callable[[], None] | None = None,
) -> Evaluation:
    """Runs `model` over the loader's split and gives the pooled loss and outputs.

    Args:
        task: Its `step` is called for every batch, with the model in evaluation mode and no gradients.
        model: The network; it is left in the mode it was in.
        loader: The split; its purpose (`val`, `test`) becomes `Evaluation.split`.
        data: All that the task loaded, passed on.
        epoch: Epochs trained so far.
        streams: The run's streams; every batch starts its own, so that nothing drawn here reaches the training.
        context: The autocast context of the run.
        device: The device of the model, passed on.
        check: Called before every batch; what it raises ends the pass.
    """
    import torch

    steps: list[StepOutput] = []
    with evaluating(model):
        for place, batch in enumerate(loader.batches(0, loader.plan(0))):
            if check is not None:
                check()
            streams.seed_globals(f"evaluate:{loader.purpose}", epoch, place)
            with context:
                steps.append(task.step(model, batch))
    losses = torch.stack([step.loss.detach() for step in steps]).cpu().double()
    sizes = torch.tensor([step.size for step in steps], dtype=torch.float64)
    return Evaluation(
        split=loader.purpose,
        epoch=epoch,
        loss=float((losses * sizes).sum() / sizes.sum()),
        outputs={name: _pool([step.outputs[name] for step in steps]) for name in steps[0].outputs},
        samples=loader.samples,
        data=data,
        ids=names_of(loader.samples),
        device=device,
    )


def score_of(task: Task, evaluation: Evaluation) -> Mapping[str, float]:
    """The loss and the task's metrics of one pass, as plain floats."""
    return {"loss": evaluation.loss} | {name: float(value) for name, value in task.metrics(evaluation).items()}


def deciding(task: Task, values: Mapping[str, float]) -> float:
    """The one of the values that decides which validation is the best."""
    if task.score.metric not in values:
        hint = did_you_mean(task.score.metric, values) or f"there are: {', '.join(values)}"
        raise UserError(f"the task's score is {task.score.metric!r}, which its metrics do not give", hint)
    return values[task.score.metric]


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Nothing is learned inside: evaluation mode, no gradients; afterwards the model is in the mode it was in."""
    import torch

    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def _pool(parts: list[Any]) -> Any:
    import torch

    if isinstance(parts[0], torch.Tensor):
        return torch.cat(parts).cpu()
    return [entry for part in parts for entry in part]
