"""Points in the plane, two or more classes: the task on which one can see what a network does.

Command:   deepdiva run points --data spirals
Data:      one of ten generated shapes, such as `moons` or `checkerboard`; or `--data PATH` with
           `{train,val,test}/data.csv` (x,y,label)
Result:    test accuracy at most seven points below the best rule there is, on each shape; the decision surface of
           every validation under `figures/val/surface` and in TensorBoard
A batch:   coordinates (64, 2) float32, classes (64,) int64
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from deepdiva.config import Range
from deepdiva.data import arrays, points, shapes
from deepdiva.engine.task import DataSplits, Evaluation
from deepdiva.tasks.classification import Classification

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn


@dataclass(frozen=True)
class Points(Classification):
    """One class for every point of the plane.

    Args:
        n: Number of points of a generated set, split 60/20/20.
        noise: Standard deviation of what is added to every coordinate of a generated set; null takes the set's own.
        data_seed: Chooses the points of a generated set; the run's seed does not.
        surface_pixels: Side of the decision surface in pixels.
    """

    n: Annotated[int, Range(ge=10)] = 1000
    noise: Annotated[float, Range(ge=0)] | None = None
    data_seed: Annotated[int, Range(ge=0)] = 0
    surface_pixels: Annotated[int, Range(ge=10, le=1000)] = 200

    preset: ClassVar[Mapping[str, Any]] = {
        "data": "moons",
        "model": "mlp",
        "epochs": 40,
        "batch_size": 32,
        "optimizer": {"class": "AdamW", "lr": 0.01},
        "scheduler": "OneCycleLR",
    }

    def load_data(self, source: str | None) -> DataSplits:
        """The generated set called `source`, or the files below it."""
        name = source or "moons"
        if name in shapes.SHAPES:
            splits = points.generate(name, n=self.n, noise=self.noise, seed=self.data_seed)
        else:
            splits = points.read_folder(Path(name))
        return self._splits(splits, {"in_features": 2})

    def prepare(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Points (B, 2), scaled as the training points were found to be; the same for every split."""
        return arrays.normalise(inputs, self.statistics["mean"], self.statistics["std"])

    def figures(self, model: nn.Module, evaluation: Evaluation) -> Mapping[str, Image]:
        """The confusion matrix and the decision surface."""
        from deepdiva.visualization.boundary import decision_surface, surface_extent, surface_points

        splits = {"train": evaluation.data.train, evaluation.split: evaluation.samples}
        shown = {name: (np.asarray(s.inputs), np.asarray(s.targets)) for name, s in splits.items()}  # type: ignore[attr-defined]
        extent = surface_extent(shown["train"][0])  # the same in every picture of a run
        grid = surface_points(extent, self.surface_pixels)
        shares = self.ask(model, grid, evaluation.device).reshape(self.surface_pixels, self.surface_pixels, -1)
        classes = evaluation.data.classes
        return {**super().figures(model, evaluation), "surface": decision_surface(shares, extent, shown, classes)}
