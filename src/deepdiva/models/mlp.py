"""A network of fully connected layers for vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

__all__ = ["MLP"]


class MLP(nn.Module):
    """Linear layers with an activation between them; inputs of more than two dimensions are flattened.

    Args:
        in_features: Length D of an input vector.
        num_classes: Number of classes K.
        hidden: Width of each hidden layer; none makes it a linear classifier.
        activation: What stands between the layers.
        dropout: Chance that a hidden feature is dropped.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        hidden: Sequence[int] = (64, 64, 64),
        activation: Literal["relu", "gelu", "silu", "tanh"] = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = in_features
        for units in hidden:
            layers += [nn.Linear(width, units), _ACTIVATIONS[activation]()]
            # Left out at 0, so that a step costs nothing for a dropout that is not there.
            layers += [nn.Dropout(dropout)] if dropout > 0 else []
            width = units
        self.hidden = nn.Sequential(*layers)
        self.classifier = nn.Linear(width, num_classes)

    def features(self, inputs: Tensor) -> Tensor:
        """The description of each input that the last layer reads.

        Args:
            inputs: (N, …) with D values for each of the N samples.

        Returns:
            (N, last width of `hidden`).
        """
        described: Tensor = self.hidden(inputs.flatten(start_dim=1))
        return described

    def forward(self, inputs: Tensor) -> Tensor:
        """Class scores (logits).

        Args:
            inputs: (N, …) with D values for each of the N samples.

        Returns:
            (N, K).
        """
        scores: Tensor = self.classifier(self.features(inputs))
        return scores


_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}
