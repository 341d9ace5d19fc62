"""When a learning-rate scheduler of torch is due: after a step, after an epoch, or after a validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Schedule:
    """A scheduler that knows when it is due; without one, the rate stays as it is.

    Args:
        scheduler: Any learning-rate scheduler of torch, or None.
        interval: `step` or `epoch`; a scheduler that follows the score goes by validations instead.
    """

    def __init__(self, scheduler: Any, interval: str) -> None:
        import inspect

        self._scheduler = scheduler
        self._by_score = scheduler is not None and "metrics" in inspect.signature(scheduler.step).parameters
        self._interval = "validation" if self._by_score else interval

    def after_step(self) -> None:
        """Call it after every optimizer step."""
        if self._interval == "step" and self._scheduler is not None:
            self._scheduler.step()

    def after_epoch(self) -> None:
        """Call it after every epoch."""
        if self._interval == "epoch" and self._scheduler is not None:
            self._scheduler.step()

    def after_validation(self, score: float) -> None:
        """Call it with the score of every validation after the first epoch."""
        if self._by_score:
            self._scheduler.step(score)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: plain values only."""
        if self._scheduler is None:
            return {}
        state: dict[str, Any] = self._scheduler.state_dict()
        return {name: value for name, value in state.items() if not callable(value)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues where `state` was taken."""
        if self._scheduler is not None:
            self._scheduler.load_state_dict(dict(state))

    def is_method(self, name: str) -> bool:
        """Whether the scheduler calls something by this name, which a state must not replace."""
        return callable(getattr(self._scheduler, name, None))
