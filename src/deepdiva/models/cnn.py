"""A small convolutional network for small images."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["CNN"]


class CNN(nn.Module):
    """Six 3×3 convolutions in three stages, a mean over all places, one linear layer.

    It takes images of any size from 4×4 on and suits 8×8 to 64×64: each output of the last stage sees 32×32 pixels.
    None of its operations is among those that torch lists as nondeterministic.

    Args:
        num_classes: Number of classes K.
        in_channels: Number of image channels C.
        width: Channels of the first stage; the second has twice, the third four times as many.
        dropout: Chance that a feature is dropped before the linear layer.
    """

    def __init__(self, num_classes: int, in_channels: int = 1, width: int = 32, dropout: float = 0.2) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            *_convolution(in_channels, width),
            *_convolution(width, width),
            nn.MaxPool2d(2),
            *_convolution(width, 2 * width),
            *_convolution(2 * width, 2 * width),
            nn.MaxPool2d(2),
            *_convolution(2 * width, 4 * width),
            *_convolution(4 * width, 4 * width),
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(4 * width, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """The description of each image that the linear layer reads.

        Args:
            images: (N, C, H, W).

        Returns:
            (N, 4 · width).
        """
        maps: Tensor = self.stages(images)
        # Not nn.AdaptiveAvgPool2d: its backward pass adds in no fixed order on CUDA; a mean over dimensions does not.
        return maps.mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Class scores (logits).

        Args:
            images: (N, C, H, W).

        Returns:
            (N, K).
        """
        scores: Tensor = self.classifier(self.dropout(self.features(images)))
        return scores


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    """Convolution, normalisation and activation that keep the size: (N, inputs, H, W) → (N, outputs, H, W)."""
    # No bias: the normalisation that follows would subtract it again. SiLU, not ReLU: on the bundled digits it makes
    # about a quarter fewer mistakes at the same cost.
    return (
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.SiLU(),
    )
