"""A task of one's own, which is no classification: learn a curve from noisy values. All a task needs is here.

Command:   deepdiva run examples/own_task.py:Curve --noise 0.1
Result:    test/error (root of the mean squared distance to the true curve) below 0.05, in seconds
A batch:   places (32, 1) float32, values (32, 1) float32
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from deepdiva import DataSplits, Evaluation, Range, Score, StepOutput, Task


@dataclass(frozen=True)
class Curve(Task):
    """Values of a curve at places from -3 to 3.

    Args:
        n: Number of noisy values to learn from.
        noise: Deviation of what is added to each of them.
    """

    n: Annotated[int, Range(ge=10)] = 500
    noise: Annotated[float, Range(ge=0)] = 0.1

    preset: ClassVar[Mapping[str, Any]] = {
        "model": {"class": "mlp", "in_features": 1, "num_classes": 1, "activation": "tanh"},
        "epochs": 60,
        "batch_size": 32,
        "optimizer": {"class": "AdamW", "lr": 0.01},
        "scheduler": "OneCycleLR",
    }
    score: ClassVar[Score] = Score("error", "min")

    def load_data(self, source: str | None) -> DataSplits:
        """Noisy values for training, true ones to compare with; the draws come from the run's seed."""
        places = 6 * torch.rand(self.n, 1) - 3
        noisy = torch.sin(2 * places) + self.noise * torch.randn(self.n, 1)
        val, test = (TensorDataset(x, torch.sin(2 * x)) for x in torch.linspace(-3, 3, 400).view(200, 2, 1).unbind(1))
        return DataSplits(train=TensorDataset(places, noisy), val=val, test=test)

    def step(self, model: nn.Module, batch: Sequence[Tensor]) -> StepOutput:
        """Mean squared distance of a batch; the loop does the rest."""
        places, values = batch
        guess = model(places)
        loss = nn.functional.mse_loss(guess, values)
        return StepOutput(loss=loss, size=len(places), outputs={"guess": guess.detach(), "value": values})

    def metrics(self, evaluation: Evaluation) -> Mapping[str, float]:
        """The root of the mean squared distance over a whole split."""
        distance = evaluation.outputs["guess"] - evaluation.outputs["value"]
        return {"error": float(distance.square().mean().sqrt())}
