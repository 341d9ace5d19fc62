"""The components of a run (model, optimizer, scheduler): checked, completed with every default, and built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from deepdiva import models
from deepdiva.config import Component, Kind, build, complete, components_in, locate, problems_in
from deepdiva.engine.schedule import Schedule
from deepdiva.errors import Problem, UserError, UserErrors

if TYPE_CHECKING:
    import torch
    from torch import nn

    from deepdiva.config import Config, Resolved
    from deepdiva.engine.task import DataSplits, Task

_Maker = Callable[[], Component | Sequence[Component] | None]

MODEL = Kind("model", base="torch.nn:Module", short=models.NAMES)
OPTIMIZER = Kind("optimizer", base="torch.optim:Optimizer", namespaces=("torch.optim",))
SCHEDULER = Kind("scheduler", base="torch.optim.lr_scheduler:LRScheduler", namespaces=("torch.optim.lr_scheduler",))
_BY_STEP = {"OneCycleLR", "CyclicLR"}
# What follows from other settings is not written into the record but worked out when the schedule is built:
# the highest rate from the optimizer's, the length from the number of steps or epochs.
_DERIVED = ("max_lr", "total_steps", "T_max", "total_iters")


def problems_of(components: Mapping[str, Component], origins: Mapping[str, str]) -> Iterator[Problem]:
    """All mistakes in the run's components that show before the data is there, by their paths."""
    kinds = {"model": (MODEL, 0), "optimizer": (OPTIMIZER, 1), "scheduler": (SCHEDULER, 1)}
    for path, component in components.items():
        if path not in kinds:
            continue
        kind, positional = kinds[path]
        if kind is SCHEDULER:
            try:
                component, _ = _without_interval(component)
            except UserError as error:
                yield Problem(error.message, origins.get("scheduler.interval"), error.hint)
                others = {name: value for name, value in component.arguments.items() if name != "interval"}
                component = replace(component, arguments=others)
        yield from problems_in(kind, component, positional=positional, where=path, origins=origins)


def complete_components(resolved: Resolved, task: Task, data: DataSplits, device: torch.device) -> Config:
    """The configuration with every argument of every component written out, those that the data decide included.

    Raises:
        UserErrors: Mistakes in any of them, all at once.
    """
    config, origins = resolved.config, resolved.origins
    model, scheduler = config.model, config.scheduler
    makers: dict[str, _Maker] = {
        "optimizer": lambda: _complete_optimizer(config.optimizer, device.type, origins),
    }
    if model is not None:
        makers["model"] = lambda: complete(MODEL, model, supplied=data.supplies, where="model", origins=origins)
    if scheduler is not None:
        makers["scheduler"] = lambda: _complete_scheduler(scheduler, task.score.mode, origins)
    for name, kind in task.kinds.items():
        makers[f"task.{name}"] = partial(_complete_field, kind, getattr(task, name), f"task.{name}", origins)
    return config.with_components(_all_of(makers))


def build_model(config: Config) -> nn.Module:
    """The network that a completed configuration names; a task that builds its own never asks for it."""
    if config.model is None:
        raise UserError("no model is named, and the task suggests none", "give --model, such as --model cnn")
    model: nn.Module = build(MODEL, config.model)
    return model


def build_optimizer(config: Config, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer over all parameters of `model` that learn."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not learning:
        raise UserError(f"the model {type(model).__name__} has no parameter to learn")
    optimizer: torch.optim.Optimizer = build(OPTIMIZER, config.optimizer, learning)
    return optimizer


def build_schedule(config: Config, optimizer: torch.optim.Optimizer, *, steps: int) -> Schedule:
    """The schedule for a training of `steps` optimizer steps in all."""
    if config.scheduler is None:
        return Schedule(None, "epoch")
    component, interval = _without_interval(config.scheduler)
    names = inspect.signature(locate(SCHEDULER, component.target)).parameters
    arguments = dict(component.arguments)
    units = max(1, steps if interval == "step" else config.epochs)
    rates = [group["lr"] for group in optimizer.param_groups]
    derived = dict.fromkeys(_DERIVED, units) | {"max_lr": rates[0] if len(rates) == 1 else rates}
    length_is_given = arguments.get("epochs") is not None and arguments.get("steps_per_epoch") is not None
    for name, value in derived.items():
        if name in names and arguments.get(name) is None and not (name == "total_steps" and length_is_given):
            arguments[name] = value
    return Schedule(build(SCHEDULER, replace(component, arguments=arguments), optimizer), interval)


def _all_of(makers: Mapping[str, _Maker]) -> dict[str, Component | Sequence[Component] | None]:
    """What each of them makes; the mistakes of all, if there are any."""
    made: dict[str, Component | Sequence[Component] | None] = {}
    problems: list[Problem] = []
    causes: list[BaseException | None] = []
    for path, make in makers.items():
        try:
            made[path] = make()
        except UserErrors as errors:
            problems.extend(errors.problems)
            causes.append(errors.__cause__)
        except UserError as error:
            problems.append(Problem(error.message, hint=error.hint))
            causes.append(error.__cause__)
    if problems:
        raise UserErrors(problems) from next(filter(None, causes), None)
    return made


def _complete_field(
    kind: Kind, value: Any, path: str, origins: Mapping[str, str]
) -> Component | Sequence[Component] | None:
    """The component in a field of the task, or all those in a list."""
    done = [complete(kind, item, where=place, origins=origins) for place, item in components_in(path, value).items()]
    return done if isinstance(value, list | tuple) else next(iter(done), None)


def _complete_optimizer(component: Component, device_type: str, origins: Mapping[str, str]) -> Component:
    """With every default; in torch's fused form where there is one and no other form was chosen.

    The fused form is the fastest, and on a CPU the only one free of a square root whose last bit depends on the
    instruction set.
    """
    found = locate(OPTIMIZER, component.target, where="optimizer")
    step = getattr(found, "step", None)  # a function that makes an optimizer has none
    closure = inspect.signature(step).parameters.get("closure") if step is not None else None
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise UserError(f"the optimizer {component.target} computes the loss several times a step", "choose another")
    names = inspect.signature(found).parameters
    chosen = {"fused", "foreach", "capturable", "differentiable"} & set(component.arguments)
    if "fused" in names and not chosen and device_type in {"cpu", "cuda", "mps"}:
        component = replace(component, arguments={**component.arguments, "fused": True})
    return complete(OPTIMIZER, component, positional=1, where="optimizer", origins=origins)


def _complete_scheduler(component: Component, mode: str, origins: Mapping[str, str]) -> Component:
    """With every default, and `interval`, which is ours: `step` or `epoch`."""
    component, interval = _without_interval(component)
    names = inspect.signature(locate(SCHEDULER, component.target, where="scheduler")).parameters
    arguments = dict(component.arguments)
    if "mode" in names and "metrics" in inspect.signature(locate(SCHEDULER, component.target).step).parameters:
        arguments.setdefault("mode", mode)
    placeholders = {name: 1 for name in _DERIVED if name in names and name not in arguments}
    full = complete(
        SCHEDULER,
        replace(component, arguments=arguments),
        supplied=placeholders,
        positional=1,
        where="scheduler",
        origins=origins,
    )
    written = {name: value for name, value in full.arguments.items() if name not in placeholders}
    return replace(full, arguments={**written, "interval": interval})


def _without_interval(component: Component) -> tuple[Component, str]:
    """The scheduler as torch knows it, and how often it is stepped."""
    arguments = dict(component.arguments)
    name = component.target.replace(":", ".").rpartition(".")[2].replace("-", "").replace("_", "").lower()
    by_step = name in {known.lower() for known in _BY_STEP}
    interval = arguments.pop("interval", "step" if by_step else "epoch")
    if interval not in ("step", "epoch"):
        raise UserError(f"a scheduler's interval is `step` or `epoch`, got {interval!r}")
    return replace(component, arguments=arguments), str(interval)
