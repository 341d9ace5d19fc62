"""All that a training changes: its model, what steps it, and how far it has come. A checkpoint holds this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deepdiva.engine.average import Average
from deepdiva.engine.checkpoint import Checkpoint, load_weights, state_of
from deepdiva.engine.fingerprint import state_digest
from deepdiva.engine.saved_state import problems_of_state, refuse
from deepdiva.engine.state_fit import (
    problems_of_optimizer,
    problems_of_scaler,
    problems_of_schedule,
    problems_of_weights,
)
from deepdiva.errors import Problem, UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from deepdiva.engine.schedule import Schedule


@dataclass
class Position:
    """How far a training has come: with the seed, all that the order and the randomness of what follows depend on."""

    epoch: int = 0  # epochs finished
    step_in_epoch: int = 0  # optimizer steps done in the epoch after those
    step: int = 0  # optimizer steps done in all
    best_step: int | None = None
    best_epoch: int | None = None
    best_value: float | None = None
    best_loss: float | None = None
    without_improvement: int = 0  # validations since the best one
    finished: bool = False


class TrainingState:
    """A model with its optimizer, schedule, scaler of half precision, moving average and position.

    Args:
        model: The network, on its device.
        optimizer: Built over the model's parameters.
        schedule: When the learning rate changes, and to what.
        scaler: Scales the loss of half precision; not enabled otherwise.
        clip_norm: The longest gradient, as a norm over all parameters; None for no limit.
        decay: Of the moving average of the weights; None for none.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        scaler: torch.amp.GradScaler,
        *,
        clip_norm: float | None = None,
        decay: float | None = None,
    ) -> None:
        self.model, self.optimizer, self.schedule, self.scaler = model, optimizer, schedule, scaler
        self.average = None if decay is None else Average(model, decay)
        self.position = Position()
        self._clip_norm = clip_norm

    @property
    def evaluated(self) -> nn.Module:
        """The model to validate and test: the averaged one where there is one."""
        return self.model if self.average is None else self.average.model

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of `loss`."""
        (self.scaler.scale(loss) if self.scaler.is_enabled() else loss).backward()  # type: ignore[no-untyped-call]

    def update(self) -> None:
        """One step of the optimizer with the gradients added so far, of the schedule and of the average."""
        import torch

        if self._clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._clip_norm)
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.schedule.after_step()
        if self.average is not None:
            self.average.update(self.model)
        self.position.step += 1
        self.position.step_in_epoch += 1

    def rest(self) -> dict[str, Any]:
        """What a checkpoint holds beside the model."""
        return {**self._steppers(), "position": asdict(self.position)}

    def restore(self, saved: Checkpoint) -> None:
        """Takes everything from a checkpoint.

        Raises:
            UserErrors: It holds something else than such a state; what, is said part by part.
        """
        training: Mapping[str, Any] = saved.training
        if self.average is not None and training.get("average") is None:
            raise UserError(f"{saved.path} holds no moving average", "it is of a training without one")
        refuse(saved, problems_of_state(training))
        refuse(
            saved,
            [
                *problems_of_weights(saved, self.model, self.average),
                *problems_of_optimizer(training["optimizer"], self.optimizer),
                *problems_of_schedule(training["schedule"], self.schedule),
                *problems_of_scaler(training["scaler"], self.scaler),
            ],
        )
        load_weights(self.model, saved.model, str(saved.path))
        settings = [(group, name) for group, values in enumerate(self.optimizer.param_groups) for name in values]
        self.optimizer.load_state_dict(training["optimizer"])
        # Only now: what an older torch did not have yet, `load_state_dict` fills in.
        gone = [(group, name) for group, name in settings if name not in self.optimizer.param_groups[group]]
        refuse(saved, [Problem("is missing", f"optimizer.param_groups.{group}.{name}") for group, name in gone])
        self.schedule.load_state_dict(training["schedule"])
        self.scaler.load_state_dict(training["scaler"])
        if self.average is not None:
            self.average.load_state_dict(training["average"], str(saved.path))
        self.position = Position(**training["position"])

    def digests(self) -> dict[str, str]:
        """SHA-256 of the model's state (`weights`) and of it with all that goes with it (`state`)."""
        weights = state_digest(state_of(self.model))  # hashed once: the state's digest is over this one and the rest
        return {"weights": weights, "state": state_digest({"weights": weights, **self._steppers()})}

    def _steppers(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }
