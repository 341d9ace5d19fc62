"""Residual networks (He et al., Deep Residual Learning for Image Recognition, CVPR 2016)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

__all__ = ["ResNet", "ResNet18", "ResNet34", "ResNet50"]

Stem = Literal["small", "large"]


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut: (N, inputs, H, W) → (N, width, H / stride, W / stride).

    Args:
        inputs: Channels that come in.
        width: Channels that go out.
        stride: Step of the first convolution.
    """

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, maps: Tensor) -> Tensor:
        """The block's output; shapes as above."""
        shortcut = maps if self.downsample is None else self.downsample(maps)
        inner = self.relu(self.bn1(self.conv1(maps)))
        result: Tensor = self.relu(self.bn2(self.conv2(inner)) + shortcut)
        return result


class Bottleneck(nn.Module):
    """A 3×3 convolution between two of 1×1: (N, inputs, H, W) → (N, 4 · width, H / stride, W / stride).

    Args:
        inputs: Channels that come in.
        width: Channels of the 3×3 convolution.
        stride: Step of the 3×3 convolution.
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, 4 * width, stride)

    def forward(self, maps: Tensor) -> Tensor:
        """The block's output; shapes as above."""
        shortcut = maps if self.downsample is None else self.downsample(maps)
        inner = self.relu(self.bn1(self.conv1(maps)))
        inner = self.relu(self.bn2(self.conv2(inner)))
        result: Tensor = self.relu(self.bn3(self.conv3(inner)) + shortcut)
        return result


class ResNet(nn.Module):
    """A residual network of four stages whose parameters are named as in torchvision, so that its weights load.

    Args:
        num_classes: Number of classes K.
        in_channels: Number of image channels C.
        block: Kind of block.
        depths: Number of blocks in each of the four stages.
        stem: `large`, as published, shrinks the image four times before the first stage (from about 96×96 pixels
            on); `small` keeps its size (8×8 to about 64×64 pixels).
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        *,
        block: type[BasicBlock | Bottleneck],
        depths: tuple[int, int, int, int],
        stem: Stem = "large",
    ) -> None:
        super().__init__()
        large = stem == "large"
        self.conv1 = nn.Conv2d(
            in_channels,
            64,
            kernel_size=7 if large else 3,
            stride=2 if large else 1,
            padding=3 if large else 1,
            bias=False,
        )
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if large else nn.Identity()
        widths = (64, 128, 256, 512)
        self.layer1 = _stage(block, 64, widths[0], depths[0], stride=1)
        self.layer2 = _stage(block, widths[0] * block.expansion, widths[1], depths[1], stride=2)
        self.layer3 = _stage(block, widths[1] * block.expansion, widths[2], depths[2], stride=2)
        self.layer4 = _stage(block, widths[2] * block.expansion, widths[3], depths[3], stride=2)
        self.fc = nn.Linear(widths[3] * block.expansion, num_classes)
        _initialise(self)

    def features(self, images: Tensor) -> Tensor:
        """The description of each image that the linear layer reads.

        Args:
            images: (N, C, H, W).

        Returns:
            (N, 512), with bottleneck blocks (N, 2048).
        """
        maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        # Not nn.AdaptiveAvgPool2d: its backward pass adds in no fixed order on CUDA; a mean over dimensions does not.
        described: Tensor = maps.mean(dim=(2, 3))
        return described

    def forward(self, images: Tensor) -> Tensor:
        """Class scores (logits).

        Args:
            images: (N, C, H, W).

        Returns:
            (N, K).
        """
        scores: Tensor = self.fc(self.features(images))
        return scores


class ResNet18(ResNet):
    """ResNet-18: 11 million parameters.

    Args:
        num_classes: Number of classes K.
        in_channels: Number of image channels C.
        stem: `large` for images from about 96×96 pixels on, as published; `small` for smaller ones.
    """

    def __init__(self, num_classes: int, in_channels: int = 3, stem: Stem = "large") -> None:
        super().__init__(num_classes, in_channels, block=BasicBlock, depths=(2, 2, 2, 2), stem=stem)


class ResNet34(ResNet):
    """ResNet-34: 21 million parameters.

    Args:
        num_classes: Number of classes K.
        in_channels: Number of image channels C.
        stem: `large` for images from about 96×96 pixels on, as published; `small` for smaller ones.
    """

    def __init__(self, num_classes: int, in_channels: int = 3, stem: Stem = "large") -> None:
        super().__init__(num_classes, in_channels, block=BasicBlock, depths=(3, 4, 6, 3), stem=stem)


class ResNet50(ResNet):
    """ResNet-50: 24 million parameters.

    Args:
        num_classes: Number of classes K.
        in_channels: Number of image channels C.
        stem: `large` for images from about 96×96 pixels on, as published; `small` for smaller ones.
    """

    def __init__(self, num_classes: int, in_channels: int = 3, stem: Stem = "large") -> None:
        super().__init__(num_classes, in_channels, block=Bottleneck, depths=(3, 4, 6, 3), stem=stem)


def _stage(block: type[BasicBlock | Bottleneck], inputs: int, width: int, depth: int, *, stride: int) -> nn.Sequential:
    """`depth` blocks, the first of which has the stride."""
    outputs = width * block.expansion
    return nn.Sequential(block(inputs, width, stride), *(block(outputs, width) for _ in range(depth - 1)))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """The 1×1 convolution that makes a shortcut fit, or None where it fits as it is."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(outputs))


def _initialise(network: nn.Module) -> None:
    """Draws the convolutions as the paper does; each block starts as its shortcut alone, which eases training."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)
        elif isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)
