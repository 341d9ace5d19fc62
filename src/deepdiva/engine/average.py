"""An exponential moving average of a model's weights: steadier than the weights of any one step."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


class Average:
    """The average of a model after its steps: `decay` of what it was and the rest of what the model is now.

    It begins with the model after the first step. What a network counts and measures while it trains (the statistics
    of batch normalisation) is averaged with its weights; whole numbers and truth values cannot be, and are copied.

    Args:
        model: The model in training, on its device.
        decay: The weight of the past, above 0 and below 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        from torch.optim.swa_utils import AveragedModel

        self._averaged = AveragedModel(model, multi_avg_fn=partial(_average, decay), use_buffers=True)

    @property
    def model(self) -> nn.Module:
        """A model of its own with the averaged weights."""
        return self._averaged.module

    def update(self, model: nn.Module) -> None:
        """Takes the model after a step."""
        self._averaged.update_parameters(model)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the averaged model and the number of steps in it."""
        from deepdiva.engine.checkpoint import state_of

        return {"model": state_of(self.model), "steps": int(self._averaged.n_averaged)}

    def load_state_dict(self, state: Mapping[str, Any], source: str) -> None:
        """Continues where `state` was taken; `source` names it in what an error says."""
        from deepdiva.engine.checkpoint import load_weights

        load_weights(self.model, state["model"], source)
        self._averaged.n_averaged.fill_(state["steps"])


def _average(
    decay: float,
    averages: tuple[Tensor, ...] | list[Tensor],
    values: tuple[Tensor, ...] | list[Tensor],
    steps: Tensor | int,
) -> None:
    """Moves `averages` towards `values`; all of one type and device, as torch hands them over."""
    import torch

    with torch.no_grad():
        if averages[0].is_floating_point() or averages[0].is_complex():
            torch._foreach_lerp_(averages, values, 1 - decay)
        else:
            torch._foreach_copy_(averages, values)
