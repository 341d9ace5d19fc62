"""Conformance of a task: what the loop and the guarantees rest on, each point tried on the task itself."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepdiva.engine import checkpoint
from deepdiva.engine.evaluation import evaluate, evaluating, score_of
from deepdiva.engine.fingerprint import state_digest
from deepdiva.engine.loaders import Loader, names_of
from deepdiva.engine.seeding import Streams
from deepdiva.engine.task import Evaluation, StepOutput

if TYPE_CHECKING:
    import torch
    from torch import nn

    from deepdiva.engine.task import DataSplits, Task

_OVERFIT_STEPS = 300


@dataclass(frozen=True)
class Outcome:
    """How one point came out: its name, whether it holds, and what was seen."""

    name: str
    passed: bool
    detail: str


class _Broken(Exception):
    """A point that does not hold, in words."""


@dataclass
class Subject:
    """A task with all that is needed to try it.

    Args:
        task: The task.
        data: What its `load_data` gave.
        create_model: Builds the model anew, with whatever randomness is in the global generators.
        create_optimizer: Builds the optimizer over a model.
        batch_size: Samples a batch.
        device: Where to compute.
        seed: The seed of the streams.
    """

    task: Task
    data: DataSplits
    create_model: Callable[[], nn.Module]
    create_optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    batch_size: int
    device: torch.device
    seed: int = 0

    def model(self, seed: int | None = None) -> nn.Module:
        """A fresh model whose initial weights come from the stream of `seed`."""
        Streams(self.seed if seed is None else seed, self.device).seed_globals("initialisation")
        return self.task.build_model(self.create_model).to(self.device)

    def loader(self, split: str, workers: int = 0) -> Loader:
        """A loader over one split."""
        return Loader(
            getattr(self.data, split),
            batch_size=self.batch_size,
            streams=Streams(self.seed, self.device),
            device=self.device,
            workers=workers,
            purpose=split,
        )

    def first_batch(self) -> tuple[Any, int]:
        """The first training batch of epoch 1, and its number of samples."""
        loader = self.loader("train")
        plan = loader.plan(1)[:1]
        return next(iter(loader.batches(1, plan))), len(plan[0])

    def step(self, model: nn.Module, batch: Any) -> StepOutput:
        """One step of the task, at the start of a stream."""
        Streams(self.seed, self.device).seed_globals("step", 1, 0)
        return self.task.step(model, batch)

    def evaluation(self, model: nn.Module) -> Evaluation:
        """A pass over the validation split."""
        import contextlib

        return evaluate(
            self.task,
            model,
            self.loader("val"),
            self.data,
            epoch=0,
            streams=Streams(self.seed, self.device),
            context=contextlib.nullcontext(),
            device=self.device,
        )


def check_task(subject: Subject) -> Iterator[Outcome]:
    """Tries every point on `subject`; a point that raises has failed, and the next one is tried all the same."""
    for name, point in _POINTS.items():
        try:
            yield Outcome(name, True, point(subject))
        except _Broken as broken:
            yield Outcome(name, False, str(broken))
        except Exception as error:
            yield Outcome(name, False, f"{type(error).__name__}: {error}")


def _splits(subject: Subject) -> str:
    sizes = []
    for name in ("train", "val", "test"):
        split = getattr(subject.data, name)
        if split is None and name == "test":
            continue
        ids = names_of(split)
        _require(len(split) > 0, f"the {name} split has no samples")
        _require(len(ids) == len(split), f"the {name} split has {len(split)} samples, but {len(ids)} ids")
        _require(len(set(ids)) == len(ids), f"two samples of the {name} split have the same id")
        sizes.append(f"{name} {len(split)}")
    return ", ".join(sizes)


def _same_samples(subject: Subject) -> str:
    first, second = (subject.first_batch()[0] for _ in range(2))
    _require(
        state_digest({"batch": first}) == state_digest({"batch": second}),
        "the same sample of the same epoch differs when it is loaded again: it uses randomness of its own",
    )
    return "the same sample in the same epoch is the same"


def _step(subject: Subject) -> str:
    batch, size = subject.first_batch()
    model = subject.model()
    for training in (True, False):
        output = subject.step(model.train(training), batch)
        _require(isinstance(output, StepOutput), f"step gave a {type(output).__name__}, not a StepOutput")
        _require(output.loss.shape == (), f"the loss has shape {list(output.loss.shape)}, not []")
        _require(bool(output.loss.isfinite()), f"the loss is {output.loss.item()}")
        _require(output.size == size, f"the batch has {size} samples, StepOutput.size says {output.size}")
        for name, value in output.outputs.items():
            _require(len(value) == size, f"output {name!r} has {len(value)} entries for {size} samples")
            _require(not getattr(value, "requires_grad", False), f"output {name!r} is not detached")
        for name, value in output.measures.items():
            fits = value.shape in ((), (size,))
            _require(fits, f"measure {name!r} has shape {list(value.shape)}, neither [] nor [{size}]")
            _require(not value.requires_grad, f"measure {name!r} is not detached")
    return f"loss {output.loss.item():.4f} over {size} samples"


def _repeatable_step(subject: Subject) -> str:
    batch, _ = subject.first_batch()
    losses = [subject.step(subject.model().train(), batch).loss for _ in range(2)]
    _require(bool(losses[0] == losses[1]), f"the same step gave {losses[0].item()!r} and {losses[1].item()!r}")
    return "the same step gives the same bits"


def _restored_step(subject: Subject) -> str:
    """As a resume finds it: the same model again with the weights and buffers of before, and nothing else."""
    batch, _ = subject.first_batch()
    model = subject.model().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = subject.step(model, batch).loss
    model.load_state_dict(before)
    second = subject.step(model, batch).loss
    _require(bool(first == second), "a step changed something that it depends on and that no checkpoint holds")
    return "a step depends on the model's state, its batch and its stream alone"


def _builds(subject: Subject) -> str:
    one, again, other = (state_digest(subject.model(seed).state_dict()) for seed in (0, 0, 1))
    _require(one == again, "two models built from one seed differ: some randomness is not from the global generators")
    return "equal for one seed" + (", different for another" if one != other else "; no initial weight is random")


def _gradients(subject: Subject) -> str:
    batch, _ = subject.first_batch()
    model = subject.model().train()
    subject.step(model, batch).loss.backward()  # type: ignore[no-untyped-call]
    learning = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    without = [name for name, parameter in learning.items() if parameter.grad is None]
    _require(not without, f"no gradient reaches {', '.join(without)}")
    return f"they reach all {len(learning)} parameters"


def _overfits(subject: Subject) -> str:
    batch, _ = subject.first_batch()
    model = subject.model().train()
    optimizer = subject.create_optimizer(model)
    first = best = float("inf")
    for step in range(_OVERFIT_STEPS):
        loss = subject.step(model, batch).loss
        first = loss.item() if step == 0 else first
        best = min(best, loss.item())
        if best < 0.1 * first:
            return f"loss {first:.4f} → {best:.4f} in {step} steps"
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    fell = f"in {_OVERFIT_STEPS} steps on one batch the loss only went from {first:.4f} to {best:.4f}"
    _require(best < 0.5 * first, fell)
    return f"loss {first:.4f} → {best:.4f} in {_OVERFIT_STEPS} steps"


def _save_and_load(subject: Subject) -> str:
    from deepdiva.runs.storage import Storage

    model, other = subject.model(0), subject.model(1)
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint.save(Path(folder), 0, model, {}, Storage())
        checkpoint.load_weights(other, checkpoint.load(path).model, "the checkpoint")
    before, after = (subject.evaluation(each) for each in (model, other))
    same = state_digest({"outputs": before.outputs}) == state_digest({"outputs": after.outputs})
    _require(same and before.loss == after.loss, "a model that was saved and loaded gives other outputs")
    return "outputs have the same bits afterwards"


def _metrics(subject: Subject) -> str:
    evaluation = subject.evaluation(subject.model())
    values = score_of(subject.task, evaluation)
    score = subject.task.score.metric
    _require(score in values, f"the score is {score!r}, but the metrics are {', '.join(values)}")
    columns = subject.task.predictions(evaluation)
    wrong = [name for name, column in columns.items() if len(column) != len(evaluation.ids)]
    _require(not wrong, f"predictions {', '.join(wrong)} do not have one entry for every sample")
    return ", ".join(values)


def _figures(subject: Subject) -> str:
    from PIL.Image import Image

    model = subject.model()
    evaluation = subject.evaluation(model)
    before = state_digest(model.state_dict())
    with evaluating(model):
        figures = subject.task.figures(model, evaluation)
    _require(all(isinstance(figure, Image) for figure in figures.values()), "a figure is no PIL image")
    _require(before == state_digest(model.state_dict()), "drawing the figures changed the model")
    return ", ".join(figures) or "none"


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise _Broken(otherwise)


_POINTS: dict[str, Callable[[Subject], str]] = {
    "splits": _splits,
    "samples": _same_samples,
    "step": _step,
    "repeated step": _repeatable_step,
    "restored step": _restored_step,
    "builds": _builds,
    "gradients": _gradients,
    "overfits one batch": _overfits,
    "save and load": _save_and_load,
    "metrics": _metrics,
    "figures": _figures,
}
