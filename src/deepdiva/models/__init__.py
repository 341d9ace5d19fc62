"""Networks that know nothing of the rest of the package, found by short name or import path."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["NAMES"]

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "cnn": "deepdiva.models.cnn:CNN",
        "mlp": "deepdiva.models.mlp:MLP",
        "resnet18": "deepdiva.models.resnet:ResNet18",
        "resnet34": "deepdiva.models.resnet:ResNet34",
        "resnet50": "deepdiva.models.resnet:ResNet50",
    }
)
"""Short name → `module:Class`. Strings only, so that the list of models can be shown without importing torch."""
