"""Whether a state in a checkpoint fits the model that is to go on with it, and what steps that model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from deepdiva.engine.checkpoint import Checkpoint, misfits
from deepdiva.engine.saved_state import described, is_number, unlike, wrong
from deepdiva.errors import Problem

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from deepdiva.engine.average import Average
    from deepdiva.engine.schedule import Schedule

# What the optimizers of torch keep of a parameter: one number, or a number for each of its own.
_SINGLE = ("step", "eta", "mu", "mu_product")
_LIKE_PARAMETER = (
    *("acc_delta", "ax", "exp_avg", "exp_avg_sq", "exp_inf", "grad_avg", "max_exp_avg_sq", "momentum_buffer"),
    *("prev", "square_avg", "step_size", "sum", "variance"),
)


def problems_of_weights(saved: Checkpoint, model: nn.Module, average: Average | None) -> Iterator[Problem]:
    """Weights with other names, shapes or types than those of the model, and of its average where there is one."""
    yield from misfits(model, saved.model, strict_types=True)
    if average is not None:
        for problem in misfits(average.model, saved.training["average"]["model"], strict_types=True):
            yield Problem(problem.message, "average")


def problems_of_optimizer(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> Iterator[Problem]:
    """A state dictionary with other groups, parameters or kinds of values than those of the optimizer."""
    groups, kept = state.get("param_groups"), state.get("state")
    own = optimizer.state_dict()["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(own) or not all(isinstance(each, Mapping) for each in groups):
        yield wrong("optimizer.param_groups", f"a list of {len(own)} mappings", groups)
        return
    for place, (ours, theirs) in enumerate(zip(own, groups, strict=True)):
        where = f"optimizer.param_groups.{place}"
        if theirs.get("params") != ours["params"]:
            yield wrong(f"{where}.params", f"the numbers of {len(ours['params'])} parameters", theirs.get("params"))
        yield from unlike({**ours, "params": None}, theirs, where)
    if not isinstance(kept, Mapping):
        yield wrong("optimizer.state", "a mapping", kept)
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    is_of_torch = type(optimizer).__module__.split(".")[:2] == ["torch", "optim"]
    names = {frozenset(entry) for entry in kept.values() if isinstance(entry, Mapping)}
    if is_of_torch and len(names) > 1 and type(optimizer).__name__ != "Adafactor":  # which keeps by the dimensions
        yield Problem("does not hold the same of every parameter", "optimizer.state")
    for number, entry in kept.items():
        where = f"optimizer.state.{number}"
        if type(number) is not int or not 0 <= number < len(parameters):
            yield Problem(f"is of none of the {len(parameters)} parameters", where)
        elif not isinstance(entry, Mapping) or not all(isinstance(name, str) for name in entry):
            yield wrong(where, "a mapping", entry)
        elif is_of_torch:
            yield from _misfits_of_entry(entry, parameters[number], where)


def _misfits_of_entry(entry: Mapping[str, Any], parameter: Tensor, where: str) -> Iterator[Problem]:
    """What an optimizer of torch keeps of a parameter, looked at by the names that it has there."""
    for name, value in entry.items():
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        if name in _SINGLE and not (is_number(value) or shape == ()):
            yield wrong(f"{where}.{name}", "one number", value)
        if name in _LIKE_PARAMETER and value is not None and (shape, dtype) != (parameter.shape, parameter.dtype):
            yield wrong(f"{where}.{name}", described(parameter), value)


def problems_of_schedule(state: Mapping[str, Any], schedule: Schedule) -> Iterator[Problem]:
    """A state dictionary with other kinds of values than those of the schedule."""
    yield from unlike(schedule.state_dict(), state, "schedule")
    for name in state:
        if schedule.is_method(name):
            yield Problem("is no part of a schedule's state", f"schedule.{name}")


def problems_of_scaler(state: Mapping[str, Any], scaler: torch.amp.GradScaler) -> Iterator[Problem]:
    """A state dictionary with other names or kinds of values than those of the scaler, which has none when idle."""
    own = scaler.state_dict()
    yield from unlike(own, state, "scaler")
    yield from (Problem("is missing", f"scaler.{name}") for name in own if name not in state)
